// RMS and layer normalisation, row by row.
//
//   rms_norm:    y = x / sqrt(mean(x^2) + eps) * weight                       (RMSNorm, arXiv 1910.07467)
//   layer_norm:  y = (x - mean) / sqrt(var + eps) * weight + bias             (arXiv 1607.06450)
//
// Shapes   x [rows, columns] float32, row stride x_stride, a multiple of 4; weight, bias [columns] float32; y [rows, columns]
//          ELEMENT, stride y_stride, a multiple of 4. Columns any number up to 16 a thread, 16384 at most.
// Launch   one block a row; threads a multiple of 32, up to 1024, with columns <= 16 * threads.
// Bytes    x once (a row waits in registers for its own scale), y once, weight from cache: 4 + sizeof(ELEMENT) a value.
// Counted  on the simulated GPU (README.md says how):
//          rms_norm, 32 rows of 4096: moved 1.00, asked 1.63, conflicts 0 %
//          layer_norm, 32 rows of 1024: moved 1.00, asked 2.24, conflicts 0 %
//          Asked for beyond moved: weight and bias, for each row, from cache.
// Why so   memory-bound: each byte moves once, in 16-byte pieces; the second pass of layer_norm, over x - mean, runs on the
//          registers, so that the variance does not cancel.
#include "columns.cuh"
#include "reduce.cuh"

// Pieces of four columns that a thread holds.
#define PIECES 4

__device__ inline float square_sum(float4 v) { return v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w; }

extern "C" __global__ void __launch_bounds__(1024) rms_norm(
    const float* __restrict__ x, int x_stride, const float* __restrict__ weight, float eps, element* __restrict__ y, int y_stride, int columns)
{
    __shared__ float scratch[32];
    const float* row = x + (long long)blockIdx.x * x_stride;
    float4 values[PIECES];
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < PIECES; i++)
    {
        values[i] = load4(row, 4 * (threadIdx.x + i * blockDim.x), columns);
        sum += square_sum(values[i]);
    }

    float scale = 1.0f / sqrtf(block_sum(sum, scratch) / columns + eps);
    element* out = y + (long long)blockIdx.x * y_stride;
#pragma unroll
    for (int i = 0; i < PIECES; i++)
    {
        int column = 4 * (threadIdx.x + i * blockDim.x);
        float4 v = values[i];
        float4 w = load4(weight, column, columns);
        store4(out, column, columns, make_float4(v.x * scale * w.x, v.y * scale * w.y, v.z * scale * w.z, v.w * scale * w.w));
    }
}

extern "C" __global__ void __launch_bounds__(1024) layer_norm(
    const float* __restrict__ x, int x_stride, const float* __restrict__ weight, const float* __restrict__ bias, float eps,
    element* __restrict__ y, int y_stride, int columns)
{
    __shared__ float scratch[32];
    const float* row = x + (long long)blockIdx.x * x_stride;
    float4 values[PIECES];
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < PIECES; i++)
    {
        values[i] = load4(row, 4 * (threadIdx.x + i * blockDim.x), columns);
        sum += values[i].x + values[i].y + values[i].z + values[i].w;
    }

    float mean = block_sum(sum, scratch) / columns;
    sum = 0.0f;
#pragma unroll
    for (int i = 0; i < PIECES; i++)
    {
        // What lies beyond the row's columns is no difference from the mean.
        int left = columns - 4 * (int)(threadIdx.x + i * blockDim.x);
        float4 v = values[i];
        v = make_float4(left > 0 ? v.x - mean : 0.0f, left > 1 ? v.y - mean : 0.0f, left > 2 ? v.z - mean : 0.0f, left > 3 ? v.w - mean : 0.0f);
        values[i] = v;
        sum += square_sum(v);
    }

    float scale = 1.0f / sqrtf(block_sum(sum, scratch) / columns + eps);
    element* out = y + (long long)blockIdx.x * y_stride;
#pragma unroll
    for (int i = 0; i < PIECES; i++)
    {
        int column = 4 * (threadIdx.x + i * blockDim.x);
        float4 v = values[i];
        float4 w = load4(weight, column, columns);
        float4 b = load4(bias, column, columns);
        store4(
            out, column, columns,
            make_float4(v.x * scale * w.x + b.x, v.y * scale * w.y + b.y, v.z * scale * w.z + b.z, v.w * scale * w.w + b.w));
    }
}
