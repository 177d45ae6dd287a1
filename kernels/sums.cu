// Rows in fewer numbers: the mean of their heads, and their size.
//
//   mean_heads:     out[r][i] = sum over h of x[r][h * width + i] / heads
//   absolute_sums:  out[r] = sum over i of |x[r][i]|
//
// Shapes   x [R, heads * width] or [R, columns] float32; out [R, width] or [R] float32. Strides of absolute_sums' x multiples of 4, others any number.
// Launch   mean_heads: blocks of THREADS over all R * width results. absolute_sums: one block of THREADS a row.
// Bytes    4 for each value of x, once; 4 for each result. An operation a value.
// Counted  on the simulated GPU (README.md says how):
//          mean_heads, 64 rows of 32 heads of 128: moved 1.00, asked 1.00, conflicts 0 %
//          absolute_sums, 32 rows of 4096: moved 1.00, asked 1.00, conflicts 0 %
// Why so   memory-bound, and a few times a request at most. Heads are added in ascending order; a row's result depends on nothing but the row.
#include "columns.cuh"
#include "reduce.cuh"

#ifndef THREADS
#define THREADS 256
#endif

extern "C" __global__ void __launch_bounds__(THREADS) mean_heads(
    const float* __restrict__ x, int x_stride, int heads, float* __restrict__ out, int out_stride, int rows, int width)
{
    long long place = (long long)blockIdx.x * THREADS + threadIdx.x;
    long long row = place / width;
    if (row >= rows)
        return;
    int column = (int)(place - row * width);
    const float* values = x + row * x_stride + column;
    float sum = 0.0f;
    for (int head = 0; head < heads; head++)
        sum += values[(long long)head * width];
    out[row * out_stride + column] = sum / heads;
}

extern "C" __global__ void __launch_bounds__(THREADS) absolute_sums(
    const float* __restrict__ x, int x_stride, int columns, float* __restrict__ out)
{
    __shared__ float scratch[32];
    const float* row = x + (long long)blockIdx.x * x_stride;
    float sum = 0.0f;
    for (int column = 4 * threadIdx.x; column < columns; column += 4 * THREADS)
    {
        float4 v = load4(row, column, columns);
        sum += fabsf(v.x) + fabsf(v.y) + (fabsf(v.z) + fabsf(v.w));
    }

    sum = block_sum(sum, scratch);
    if (threadIdx.x == 0)
        out[blockIdx.x] = sum;
}
