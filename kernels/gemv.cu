// Matrix product of one to eight rows: decoding, at the speed of memory.
//
//   out[r][n] (+)= f(sum over k of x[r][k] * w[n][k] + bias[n])
//
// Shapes   as in matmul.cu, with rows <= ROWS (1 or 8, at compile time).
// Launch   one block of 128 for 4 columns: grid (columns / 4 rounded up).
// Bytes    w once, from memory: 2 * columns * inner; x once for 4 columns, from the first level of cache. 2 * rows * columns *
//          inner operations, of which one row has one for each byte: memory-bound.
// Counted  on the simulated GPU (README.md says how):
//          gemv, 1 row, 512 x 4096: moved 1.00, asked 1.25, conflicts 0 %
//          gemv, 7 rows, 512 x 4096: moved 1.00, asked 2.71, conflicts 0 %
//          Asked for beyond moved: x, for every 4 columns, from the first level of cache.
// Why so   Four weights' rows at a time in 16-byte pieces, two steps ahead, are 128 bytes under way in every thread; splitting
//          inner over the block's four warps lets even narrow products fill the device. A thread's sums, the shuffles and the
//          last addition have one order, whatever ROWS is: a row's bits do not depend on the rows beside it.
// Tried    ROWS 2 and 4: 8 bytes spilled for f16 on sm_90; 1 and 8 are enough. Not measured on a GPU.
#include "epilogue.cuh"

#ifndef ROWS
#define ROWS 1
#endif

#define THREADS 128
#define COLUMNS 4

__device__ inline void unpack(float (&v)[8], uint4 piece)
{
    const bits32 pairs[4] = { piece.x, piece.y, piece.z, piece.w };
#pragma unroll
    for (int i = 0; i < 4; i++)
    {
        v[2 * i] = widen((element)(pairs[i] & 0xffff));
        v[2 * i + 1] = widen((element)(pairs[i] >> 16));
    }
}

// Eight elements of a row from k on; zeros beyond its end.
__device__ inline uint4 load8(const element* row, int k, int inner)
{
    if (k + 8 <= inner)
        return *(const uint4*)(row + k);
    bits32 pairs[4] = { 0, 0, 0, 0 };
#pragma unroll
    for (int i = 0; i < 8; i++)
    {
        if (k + i < inner)
            pairs[i / 2] |= (bits32)row[k + i] << (16 * (i % 2));
    }
    return make_uint4(pairs[0], pairs[1], pairs[2], pairs[3]);
}

extern "C" __global__ void __launch_bounds__(THREADS) gemv(
    const element* __restrict__ x, int x_stride, const element* __restrict__ w, int w_stride, const float* __restrict__ bias,
    output* __restrict__ out, int out_stride, int rows, int columns, int inner, int accumulate)
{
    __shared__ float4 parts[THREADS / 32][8];
    const int column = COLUMNS * blockIdx.x;
    const element* first = w + (long long)column * w_stride;
    float sums[ROWS][COLUMNS] = {};
#pragma unroll 2
    for (int k = 8 * threadIdx.x; k < inner; k += 8 * THREADS)
    {
        uint4 pieces[COLUMNS];
#pragma unroll
        for (int c = 0; c < COLUMNS; c++)
            pieces[c] = column + c < columns ? load8(first + c * w_stride, k, inner) : make_uint4(0, 0, 0, 0);
        float weights[COLUMNS][8];
#pragma unroll
        for (int c = 0; c < COLUMNS; c++)
            unpack(weights[c], pieces[c]);
#pragma unroll
        for (int r = 0; r < ROWS; r++)
        {
            if (ROWS > 1 && r >= rows)
                break;
            float values[8];
            unpack(values, load8(x + (long long)r * x_stride, k, inner));
#pragma unroll
            for (int c = 0; c < COLUMNS; c++)
            {
#pragma unroll
                for (int i = 0; i < 8; i++)
                    sums[r][c] = fmaf(values[i], weights[c][i], sums[r][c]);
            }
        }
    }

    const int warp = threadIdx.x / 32;
#pragma unroll
    for (int r = 0; r < ROWS; r++)
    {
#pragma unroll
        for (int c = 0; c < COLUMNS; c++)
        {
#pragma unroll
            for (int offset = 16; offset > 0; offset >>= 1)
                sums[r][c] += __shfl_xor_sync(0xffffffffu, sums[r][c], offset);
        }
        if (threadIdx.x % 32 == 0)
            parts[warp][r] = make_float4(sums[r][0], sums[r][1], sums[r][2], sums[r][3]);
    }
    __syncthreads();
    if (threadIdx.x >= rows)
        return;
    float4 sum = parts[0][threadIdx.x];
#pragma unroll
    for (int i = 1; i < THREADS / 32; i++)
    {
        float4 part = parts[i][threadIdx.x];
        sum = make_float4(sum.x + part.x, sum.y + part.y, sum.z + part.z, sum.w + part.w);
    }
    finish4(sum, bias, out + (long long)threadIdx.x * out_stride, column, columns, accumulate);
}
