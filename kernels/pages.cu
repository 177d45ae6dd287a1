// Keys and values that are thinned within their pages.
//
//   keep_keys:  row first + i of the layer becomes what row rows[i] was
//
// Shapes   pages of 64 rows, [K|V][kv_head][64][dim] of 16-bit elements, dim = 16 * gridDim.y; rows [n] int32, ascending, rows[i] >= first + i.
// Launch   (2 * kv_heads, dim / 16) blocks of THREADS: 32 bytes of each row of one head's keys or values.
// Bytes    each row that moves, read once and written once; 4 for its number, from cache but for the first block.
// Counted  on the simulated GPU (README.md says how):
//          keep_keys, every 4th of 640 rows, 4 heads of 128: moved 1.00, asked 1.12, conflicts 0 %
//          Asked for beyond moved: the rows' numbers, for each block, from cache.
// Why so   in place: the rows of a round are all in registers before the first is written, and the rounds go upwards; what a round
//          overwrites lies before every later round's sources. Columns do not meddle, so they are shared out, a sector to a block.
#define PAGE 64

#ifndef THREADS
#define THREADS 256
#endif
#define VALUES 4
#define ROUND (THREADS / 2 * VALUES) // rows of a round

// This thread's 16 bytes of a stored row.
__device__ inline uint4* place_of(uint4* const* pages, int row)
{
    int chunks = 2 * gridDim.y;
    return pages[row / PAGE] + ((long long)blockIdx.x * PAGE + row % PAGE) * chunks + 2 * blockIdx.y + (threadIdx.x & 1);
}

extern "C" __global__ void __launch_bounds__(THREADS) keep_keys(uint4* const* pages, const int* __restrict__ rows, int n, int first)
{
    for (int start = 0; start < n; start += ROUND)
    {
        uint4 kept[VALUES];
        bool moves[VALUES];
#pragma unroll
        for (int j = 0; j < VALUES; j++)
        {
            int i = start + (threadIdx.x >> 1) + j * (THREADS / 2);
            int source = i < n ? rows[i] : first + i;
            moves[j] = source != first + i;
            if (moves[j])
                kept[j] = *place_of(pages, source);
        }

        __syncthreads();
#pragma unroll
        for (int j = 0; j < VALUES; j++)
        {
            if (moves[j])
                *place_of(pages, first + start + (threadIdx.x >> 1) + j * (THREADS / 2)) = kept[j];
        }
    }
}
