// Activations, element by element, the gated MLP (arXiv 2002.05202), and plain conversion.
//
//   activate:        out = f(x)                gated_activate:  out = f(gate) * up
//   f by FUNCTION at compile time (apply.cuh); -1 makes activate a conversion from float32 to ELEMENT.
//
// Shapes   gate, up, x [rows, columns] float32, strides multiples of 4; out [rows, columns] ELEMENT, stride a multiple of 8 (of 4
//          for float32). Columns are any number.
// Launch   one block of 256 for 1024 columns of a row: grid (rows, columns / 1024 rounded up).
// Bytes    gated_activate: 8 read, sizeof(ELEMENT) written a value; activate: 4 read, sizeof(ELEMENT) written.
// Counted  on the simulated GPU (README.md says how):
//          activate, 16 rows of 4096: moved 1.00, asked 1.00, conflicts 0 %
//          gated_activate, 8 rows of 11008: moved 1.00, asked 1.00, conflicts 0 %
// Why so   memory-bound: each byte moves once, in 16-byte pieces.
#include "apply.cuh"
#include "columns.cuh"

extern "C" __global__ void __launch_bounds__(256) activate(const float* x, int x_stride, element* out, int out_stride, int columns)
{
    int column = 4 * (blockIdx.y * 256 + threadIdx.x);
    if (column >= columns)
        return;
    float4 v = load4(x + (long long)blockIdx.x * x_stride, column, columns);
    store4(out + (long long)blockIdx.x * out_stride, column, columns, apply4(v));
}

extern "C" __global__ void __launch_bounds__(256) gated_activate(
    const float* gate, int gate_stride, const float* up, int up_stride, element* out, int out_stride, int columns)
{
    int column = 4 * (blockIdx.y * 256 + threadIdx.x);
    if (column >= columns)
        return;
    float4 g = apply4(load4(gate + (long long)blockIdx.x * gate_stride, column, columns));
    float4 u = load4(up + (long long)blockIdx.x * up_stride, column, columns);
    float4 z = make_float4(g.x * u.x, g.y * u.y, g.z * u.z, g.w * u.w);
    store4(out + (long long)blockIdx.x * out_stride, column, columns, z);
}
