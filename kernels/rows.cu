// Rows that move between layers: gathered, scattered, merged by weights, and keys and values that are thinned within a cache.
//
//   gather_rows:   y[i] = x[rows[i]]            scatter_rows:  y[rows[i]] = x[i]
//   merge_rows:    y[i] = sum of weights[e] * x[sources[e]] over e = offsets[i] ... offsets[i + 1] - 1
//   fill_rows:     y[i] (+)= row, the bias of a matrix product that adds to what is there
//
// Shapes   x, y float32, strides multiples of 4, columns any number; y does not overlap x. Indices int32. row [columns] float32.
// Launch   one block of THREADS a row of the list.
// Bytes    each row read once and written once: 8 * columns; merge_rows reads a row for each of its entries.
// Counted  on the simulated GPU (README.md says how):
//          gather_rows, 32 rows of 4096: moved 1.00, asked 1.01, conflicts 0 %
//          scatter_rows, 32 rows of 4096: moved 1.00, asked 1.01, conflicts 0 %
//          merge_rows, 64 rows of 1024 to 32: moved 1.00, asked 1.12, conflicts 0 %
//          fill_rows, 32 rows of 4096: moved 1.00, asked 1.94, conflicts 0 %
//          Asked for beyond moved: row numbers, weights, the one row of fill_rows, from cache.
#include "columns.cuh"

#ifndef THREADS
#define THREADS 256
#endif

__device__ inline void copy_row(const float* __restrict__ source, float* __restrict__ target, int columns)
{
    for (int column = 4 * threadIdx.x; column < columns; column += 4 * THREADS)
        store4(target, column, columns, load4(source, column, columns));
}

extern "C" __global__ void __launch_bounds__(THREADS) gather_rows(
    const float* __restrict__ x, int x_stride, const int* __restrict__ rows, float* __restrict__ y, int y_stride, int columns)
{
    copy_row(x + (long long)rows[blockIdx.x] * x_stride, y + (long long)blockIdx.x * y_stride, columns);
}

extern "C" __global__ void __launch_bounds__(THREADS) scatter_rows(
    const float* __restrict__ x, int x_stride, const int* __restrict__ rows, float* __restrict__ y, int y_stride, int columns)
{
    copy_row(x + (long long)blockIdx.x * x_stride, y + (long long)rows[blockIdx.x] * y_stride, columns);
}

extern "C" __global__ void __launch_bounds__(THREADS) fill_rows(
    const float* __restrict__ row, float* __restrict__ y, int y_stride, int columns, int accumulate)
{
    float* target = y + (long long)blockIdx.x * y_stride;
    for (int column = 4 * threadIdx.x; column < columns; column += 4 * THREADS)
    {
        float4 v = load4(row, column, columns);
        if (accumulate)
        {
            float4 old = load4(target, column, columns);
            v = make_float4(old.x + v.x, old.y + v.y, old.z + v.z, old.w + v.w);
        }
        store4(target, column, columns, v);
    }
}

extern "C" __global__ void __launch_bounds__(THREADS) merge_rows(
    const float* __restrict__ x, int x_stride, const int* __restrict__ offsets, const int* __restrict__ sources,
    const float* __restrict__ weights, float* __restrict__ y, int y_stride, int columns)
{
    int begin = offsets[blockIdx.x];
    int end = offsets[blockIdx.x + 1];
    float* target = y + (long long)blockIdx.x * y_stride;
    for (int column = 4 * threadIdx.x; column < columns; column += 4 * THREADS)
    {
        float4 sum = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
        for (int entry = begin; entry < end; entry++)
        {
            float weight = weights[entry];
            float4 v = load4(x + (long long)sources[entry] * x_stride, column, columns);
            sum.x = fmaf(weight, v.x, sum.x);
            sum.y = fmaf(weight, v.y, sum.y);
            sum.z = fmaf(weight, v.z, sum.z);
            sum.w = fmaf(weight, v.w, sum.w);
        }

        store4(target, column, columns, sum);
    }
}
