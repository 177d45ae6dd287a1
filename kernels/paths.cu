// ParVTS' two copies of the question (arXiv 2511.18875): weights by attention mass, and the fusion.
//
//   path_weights:  w[i] = mean over heads of sigma(lse[first[i], h] - lse[second[i], h])
//   fuse_paths:    x[first[i]] = w[i] * x[first[i]] + (1 - w[i]) * x[second[i]]
//
// Shapes   lse [rows, heads] float32, -inf where a row saw nothing; x [rows, columns] float32, stride a multiple of 4, columns any
//          number; first, second, w [n]. No row twice among first, none of second among first.
// Launch   path_weights: one warp a row, 8 warps a block. fuse_paths: one block of THREADS a row.
// Bytes    path_weights 8 * heads a row; fuse_paths reads two rows and writes one: 12 * columns.
// Counted  on the simulated GPU (README.md says how):
//          fuse_paths, 32 pairs of rows of 4096: moved 1.00, asked 1.02, conflicts 0 %
//          path_weights, 32 pairs of rows, 32 heads: moved 1.00, asked 1.31, conflicts 0 %
//          Asked for beyond moved: row numbers, 4 bytes at a time, from cache.
// Why so   written as a sum of two products, so that a weight of 1 leaves the first row's bits alone, as on the CPU.
#include "columns.cuh"
#include "reduce.cuh"

#ifndef THREADS
#define THREADS 256
#endif

extern "C" __global__ void __launch_bounds__(256) path_weights(
    const float* __restrict__ lse, int stride, int heads, const int* __restrict__ first, const int* __restrict__ second, int n,
    float* __restrict__ weights)
{
    int row = blockIdx.x * 8 + (threadIdx.x >> 5);
    if (row >= n)
        return;
    const float* a = lse + (long long)first[row] * stride;
    const float* b = lse + (long long)second[row] * stride;
    float sum = 0.0f;
    for (int head = threadIdx.x & 31; head < heads; head += 32)
        sum += a[head] == b[head] ? 0.5f : 1.0f / (1.0f + expf(b[head] - a[head]));
    sum = warp_sum(sum);
    if ((threadIdx.x & 31) == 0)
        weights[row] = sum / heads;
}

extern "C" __global__ void __launch_bounds__(THREADS) fuse_paths(
    float* __restrict__ x, int stride, int columns, const int* __restrict__ first, const int* __restrict__ second,
    const float* __restrict__ weights)
{
    float weight = weights[blockIdx.x];
    float other = 1.0f - weight;
    float* a = x + (long long)first[blockIdx.x] * stride;
    const float* b = x + (long long)second[blockIdx.x] * stride;
    for (int column = 4 * threadIdx.x; column < columns; column += 4 * THREADS)
    {
        float4 u = load4(a, column, columns);
        float4 v = load4(b, column, columns);
        float4 z = make_float4(
            weight * u.x + other * v.x, weight * u.y + other * v.y, weight * u.z + other * v.z, weight * u.w + other * v.w);
        store4(a, column, columns, z);
    }
}
