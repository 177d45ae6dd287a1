// Keys and values as the store holds them (contract D5): pages of 64 rows, [K|V][kv_head][64][DIM], DIM the head size padded with
// zeros to a multiple of 16. Tiles of them in shared memory, and their products with float32 vectors.
#pragma once
#include "types.cuh"

#ifndef HEAD_DIM
#define HEAD_DIM 64
#endif

#define PAGE 64
#define DIM ((HEAD_DIM + 15) / 16 * 16)
#define CHUNKS (DIM / 8)            // pieces of 16 bytes in a row
#define TILE_THREADS (2 * PAGE)     // threads of a block that works on tiles

// One head's rows in a page.
__device__ inline const element* keys_of(const element* page, int kv_head) { return page + (long long)kv_head * PAGE * DIM; }
__device__ inline const element* values_of(const element* page, int kv_heads, int kv_head) { return keys_of(page, kv_heads + kv_head); }

// Eight neighbours of 16 bits each, widened.
__device__ inline void widen_chunk(const element* from, float (&x)[8])
{
    uint4 bits = *(const uint4*)from;
    bits32 words[4] = {bits.x, bits.y, bits.z, bits.w};
#pragma unroll
    for (int i = 0; i < 4; i++)
    {
        x[2 * i] = widen((element)words[i]);
        x[2 * i + 1] = widen((element)(words[i] >> 16));
    }
}

// dot_tile's lanes read four neighbouring chunks of two rows at once, which have to lie in eight different groups of four banks: by the
// place of a chunk where rows begin in the same bank, else by the choice of the two rows.
__device__ inline int chunk_place(int row, int chunk) { return row * CHUNKS + (CHUNKS % 8 == 0 ? chunk ^ (row & 1) << 2 : chunk); }

// The thread's row of a tile; it has the one 32 further on as well.
__device__ inline int tile_row()
{
    int row = threadIdx.x >> 2;
    return CHUNKS % 4 == 0 ? row : (row & ~3) | (row & 1) << 1 | (row >> 1 & 1);
}

// Begins to copy a tile; rows from `rows` on become zeros and are not read. DOT: for dot_tile, else row after row.
template <bool DOT>
__device__ inline void load_tile(element* tile, const element* from, int rows)
{
    bits32 to = shared_address(tile);
#pragma unroll
    for (int i = 0; i < PAGE * CHUNKS / TILE_THREADS; i++)
    {
        int place = threadIdx.x + i * TILE_THREADS;
        int row = place / CHUNKS;
        copy_async(to + 16 * (DOT ? chunk_place(row, place % CHUNKS) : place), from + 8 * place, row < rows ? 16 : 0);
    }
}

// The tile times N vectors [N][DIM] in shared memory. A thread works on rows tile_row() and 32 more; four lanes share a row, and
// each gets its part of the products, which quad_sum or quad_share add up.
template <int N>
__device__ inline void dot_tile(const element* tile, const float* vectors, float (&products)[2][N])
{
    int row = tile_row();
    int part = threadIdx.x & 3;
#pragma unroll
    for (int n = 0; n < N; n++)
        products[0][n] = products[1][n] = 0.0f;
#pragma unroll
    for (int i = 0; i < (CHUNKS + 3) / 4; i++)
    {
        int chunk = 4 * i + part;
        if (chunk >= CHUNKS)
            continue;
        float x[2][8];
        widen_chunk(tile + 8 * chunk_place(row, chunk), x[0]);
        widen_chunk(tile + 8 * chunk_place(row + PAGE / 2, chunk), x[1]);
#pragma unroll
        for (int n = 0; n < N; n++)
        {
            float y[8];
            *(float4*)y = *(const float4*)(vectors + n * DIM + 8 * chunk);
            *(float4*)(y + 4) = *(const float4*)(vectors + n * DIM + 8 * chunk + 4);
#pragma unroll
            for (int e = 0; e < 8; e++)
            {
                products[0][n] = fmaf(x[0][e], y[e], products[0][n]);
                products[1][n] = fmaf(x[1][e], y[e], products[1][n]);
            }
        }
    }
}

// The sum over four lanes that are neighbours; all get it.
__device__ inline float quad_sum(float x)
{
    x += __shfl_xor_sync(0xffffffffu, x, 1);
    return x + __shfl_xor_sync(0xffffffffu, x, 2);
}

// Four sums over four lanes: lane n of the four gets that of x[n].
__device__ inline float quad_share(const float (&x)[4])
{
    int part = threadIdx.x & 3;
    bool upper = part >= 2;
    float low = (upper ? x[2] : x[0]) + __shfl_xor_sync(0xffffffffu, upper ? x[0] : x[2], 2);
    float high = (upper ? x[3] : x[1]) + __shfl_xor_sync(0xffffffffu, upper ? x[1] : x[3], 2);
    bool odd = part & 1;
    return (odd ? high : low) + __shfl_xor_sync(0xffffffffu, odd ? low : high, 1);
}
