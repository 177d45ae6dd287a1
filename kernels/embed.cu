// Token embeddings.
//
//   embed:  out[i] (+)= table[ids[i]], widened to float32
//
// Shapes   table [vocabulary, columns] ELEMENT, stride a multiple of 8 (of 4 for float32); ids [rows] int32, each below vocabulary;
//          out [rows, columns] float32, stride a multiple of 4. Columns any number.
// Launch   one block of 256 for 1024 columns of a row: grid (rows, columns / 1024 rounded up).
// Bytes    sizeof(ELEMENT) read and 4 written a value (and 4 more read, accumulating).
// Counted  on the simulated GPU (README.md says how):
//          embed, 32 rows of 4096: moved 1.00, asked 1.04, conflicts 0 %
//          Asked for beyond moved: ids.
// Why so   memory-bound; the ids live on the device, so that a decoded token never visits the host.
#include "columns.cuh"

extern "C" __global__ void __launch_bounds__(256) embed(
    const element* __restrict__ table, int table_stride, const int* __restrict__ ids, float* __restrict__ out, int out_stride, int columns,
    int accumulate)
{
    int column = 4 * (blockIdx.y * 256 + threadIdx.x);
    if (column >= columns)
        return;
    float* row = out + (long long)blockIdx.x * out_stride;
    float4 v = load4(table + (long long)ids[blockIdx.x] * table_stride, column, columns);
    if (accumulate)
    {
        float4 old = load4(row, column, columns);
        v = make_float4(old.x + v.x, old.y + v.y, old.z + v.z, old.w + v.w);
    }
    store4(row, column, columns, v);
}
