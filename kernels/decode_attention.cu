// Attention of one new row over a layer's keys, split over blocks (contract S5; flash decoding, arXiv 2205.14135 with split keys).
//
//   split s:   m = max of x_j,  l = sum of 2^(x_j - m),  a = sum of 2^(x_j - m) * v_j    x_j = scale * log2(e) * q.k_j, j in the split's pages
//   decode_combine.cu:   out = sum of 2^(m_s - M) * a_s / sum of 2^(m_s - M) * l_s       M = max of m_s
//
// Shapes   q [heads, HEAD_DIM] float32; pages as in pages.cuh, of `length` rows, and `*length_at` more where that is not null;
//          partials [heads, splits, HEAD_DIM + 2] float32: a, m, l. A split without a page writes m = -inf and l = 0 alone.
// Launch   (kv_heads * parts, splits) blocks of 128 threads. GROUP query heads of one KV head in a block: parts * GROUP of them share a
//          KV head. SHARED_BYTES of dynamic shared memory. A split takes ceil(pages / splits) neighbouring pages: the launch does not depend
//          on the length, so that a captured graph serves every step.
// Bytes    each row of K and V once, 4 * DIM; q; partials written once, 4 * GROUP * (HEAD_DIM + 2) a block. 4 * HEAD_DIM operations for
//          each query head and key.
// Counted  on the simulated GPU (README.md says how):
//          decode_attention, 640 keys in 5 splits, 4 KV heads of 64, groups of 1: moved 1.01, asked 1.03, conflicts 0 %
//          decode_attention, 640 keys in 5 splits, 4 KV heads of 72, groups of 1: moved 1.01, asked 1.03, conflicts 0 %
//          decode_attention, 640 keys in 5 splits, 4 KV heads of 80, groups of 1: moved 1.01, asked 1.03, conflicts 0 %
//          decode_attention, 640 keys in 5 splits, 4 KV heads of 96, groups of 1: moved 1.01, asked 1.03, conflicts 0 %
//          decode_attention, 640 keys in 5 splits, 4 KV heads of 128, groups of 1: moved 1.01, asked 1.02, conflicts 0 %
//          decode_attention, 640 keys in 10 splits, 2 KV heads of 128, groups of 4: moved 1.06, asked 1.14, conflicts 0 %
//          decode_attention, 640 keys in 10 splits, 2 KV heads of 128, groups of 7: moved 1.11, asked 1.24, conflicts 0 %
//          Moved beyond what must be: the sums of the splits, 4 * GROUP * (HEAD_DIM + 2) for 256 * DIM of a page, where a split is one
//          page; a longer cache has more pages in a split.
// Why so   memory-bound: the pages come by cp.async, two in flight, past the registers; all heads of a group use them there. Keys in a
//          layout in which four lanes read four neighbours of a row (pages.cuh), values row by row: no bank conflicts. Rows from
//          the length on are not read.
// Occupancy  blocks of a multiprocessor on sm_80 / sm_86, 89 / sm_90 (budget.json), by shared memory unless said: one query head of 128:
//          66 KB: 2 / 1 / 3, each with up to 64 KB under way; of 64: 33 KB: 4 / 2 / 5 (sm_90: by registers).
// Tried    no least number of blocks in the launch bounds: NVRTC 11.8 then aims at more of them and spills 4 to 16 bytes (sm_80). Four blocks
//          for groups of 8 and heads of 96 or more: 16 and 24 bytes spilled. Rows exchanged in the tile instead of among the lanes,
//          where CHUNKS is 10: the copies then meet in a bank.
#include "pages.cuh"
#include "reduce.cuh"

#ifndef GROUP
#define GROUP 1
#endif

#define SCORES (PAGE + 4)                    // floats from one head's scores to the next's
#define SUBSETS ((GROUP + 3) / 4)            // the heads are shared out, so that a thread adds up values for four at most
#define HEADS ((GROUP + SUBSETS - 1) / SUBSETS)
#define ALL_SLICES (TILE_THREADS / (CHUNKS * SUBSETS))
#define SLICES (ALL_SLICES * GROUP <= TILE_THREADS ? ALL_SLICES : TILE_THREADS / GROUP) // of a page's keys; their sums fit in the tiles
#define WARPS (TILE_THREADS / 32)
#define WARP_HEADS ((GROUP + WARPS - 1) / WARPS)
#define TILE (PAGE * DIM)
#define BLOCKS (GROUP > 8 || (GROUP == 8 && DIM >= 96) ? 3 : 4) // of a multiprocessor
#define SHARED_BYTES (4 * TILE * sizeof(element) + GROUP * (DIM + SCORES + 1) * sizeof(float))

#define MINUS_INFINITY __int_as_float(0xff800000)
#define LOG2_E 1.4426950408889634f

__device__ inline float warp_max(float x)
{
    for (int offset = 16; offset > 0; offset >>= 1)
        x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, offset));
    return x;
}

extern "C" __global__ void __launch_bounds__(TILE_THREADS, BLOCKS) decode_attention(
    const float* __restrict__ q, const element* const* __restrict__ pages, const int* __restrict__ length_at, int length, float scale,
    float* __restrict__ partials, int kv_heads, int parts)
{
    extern __shared__ __align__(16) element shared[];
    element* keys = shared;             // two tiles each
    element* values = shared + 2 * TILE;
    float* queries = (float*)(shared + 4 * TILE);
    float* scores = queries + GROUP * DIM;
    float* corrections = scores + GROUP * SCORES;

    int rows = length + (length_at ? *length_at : 0);
    int page_count = (rows + PAGE - 1) / PAGE;
    int share = (page_count + gridDim.y - 1) / gridDim.y;
    int page = blockIdx.y * share;
    int end = min(page + share, page_count);
    int kv_head = blockIdx.x / parts;
    int lane = threadIdx.x & 31;
    int warp = threadIdx.x >> 5;
    float* out = partials + ((long long)blockIdx.x * GROUP * gridDim.y + blockIdx.y) * (HEAD_DIM + 2);
    int head_stride = gridDim.y * (HEAD_DIM + 2);
    if (page >= end)
    {
        if (threadIdx.x < GROUP)
        {
            out[threadIdx.x * head_stride + HEAD_DIM] = MINUS_INFINITY;
            out[threadIdx.x * head_stride + HEAD_DIM + 1] = 0.0f;
        }

        return;
    }

    load_tile<true>(keys, keys_of(pages[page], kv_head), rows - page * PAGE);
    copy_commit();
    load_tile<false>(values, values_of(pages[page], kv_heads, kv_head), rows - page * PAGE);
    copy_commit();
    const float* heads = q + (long long)blockIdx.x * GROUP * HEAD_DIM;
    for (int i = threadIdx.x; i < GROUP * DIM; i += TILE_THREADS)
        queries[i] = i % DIM < HEAD_DIM ? heads[i / DIM * HEAD_DIM + i % DIM] * (scale * LOG2_E) : 0.0f;

    // Scores and their sums: a warp has its heads. Values: a thread has a chunk of the columns, a slice of the keys, some heads.
    float maximum[WARP_HEADS];
    float sum[WARP_HEADS];
#pragma unroll
    for (int i = 0; i < WARP_HEADS; i++)
    {
        maximum[i] = MINUS_INFINITY;
        sum[i] = 0.0f;
    }

    int chunk = threadIdx.x % CHUNKS;
    int slice = threadIdx.x / CHUNKS % SLICES;
    int subset = threadIdx.x / CHUNKS / SLICES;
    float attended[HEADS][8] = {};
    for (int buffer = 0; page < end; page++, buffer ^= 1)
    {
        int left = min(rows - page * PAGE, PAGE);

        // The keys have come, and every warp is done with the page before, whose place the next one takes.
        copy_wait<1>();
        __syncthreads();
        if (page + 1 < end)
            load_tile<true>(keys + (buffer ^ 1) * TILE, keys_of(pages[page + 1], kv_head), rows - (page + 1) * PAGE);
        copy_commit();
        if (page + 1 < end)
            load_tile<false>(values + (buffer ^ 1) * TILE, values_of(pages[page + 1], kv_heads, kv_head), rows - (page + 1) * PAGE);
        copy_commit();

        float products[2][GROUP];
        dot_tile(keys + buffer * TILE, queries, products);
#pragma unroll
        for (int n = 0; n < GROUP; n++)
        {
#pragma unroll
            for (int k = 0; k < 2; k++)
            {
                float score = quad_sum(products[k][n]);
                if ((threadIdx.x & 3) == (n & 3))
                    scores[n * SCORES + tile_row() + k * (PAGE / 2)] = score;
            }
        }

        __syncthreads();
#pragma unroll
        for (int i = 0; i < WARP_HEADS; i++)
        {
            int head = warp + i * WARPS;
            if (head >= GROUP)
                continue;
            float* own = scores + head * SCORES;
            float low = lane < left ? own[lane] : MINUS_INFINITY;
            float high = lane + 32 < left ? own[lane + 32] : MINUS_INFINITY;
            float largest = fmaxf(maximum[i], warp_max(fmaxf(low, high)));
            float correction = power_of_two(maximum[i] - largest);
            low = power_of_two(low - largest);
            high = power_of_two(high - largest);
            own[lane] = low;
            own[lane + 32] = high;
            if (lane == 0)
                corrections[head] = correction;
            sum[i] = sum[i] * correction + warp_sum(low + high);
            maximum[i] = largest;
        }

        copy_wait<2>();
        __syncthreads();
        if (subset >= SUBSETS)
            continue;
#pragma unroll
        for (int h = 0; h < HEADS; h++)
        {
            float correction = corrections[min(subset * HEADS + h, GROUP - 1)];
#pragma unroll
            for (int e = 0; e < 8; e++)
                attended[h][e] *= correction;
        }

        const element* column = values + buffer * TILE + 8 * chunk;
#pragma unroll 2
        for (int key = slice; key < left; key += SLICES)
        {
            float x[8];
            widen_chunk(column + key * DIM, x);
#pragma unroll
            for (int h = 0; h < HEADS; h++)
            {
                float probability = scores[min(subset * HEADS + h, GROUP - 1) * SCORES + key];
#pragma unroll
                for (int e = 0; e < 8; e++)
                    attended[h][e] = fmaf(probability, x[e], attended[h][e]);
            }
        }
    }

    // The slices' sums, in order, through the tiles' place.
    __syncthreads();
    float* sums = (float*)shared; // [SLICES][GROUP][DIM]
#pragma unroll
    for (int h = 0; h < HEADS; h++)
    {
        int head = subset * HEADS + h;
        if (subset >= SUBSETS || head >= GROUP)
            continue;
        float* place = sums + (slice * GROUP + head) * DIM + 8 * chunk;
        float4 first = make_float4(attended[h][0], attended[h][1], attended[h][2], attended[h][3]);
        float4 second = make_float4(attended[h][4], attended[h][5], attended[h][6], attended[h][7]);
        // Lanes four apart would meet in a bank: half of them write their second half first.
        int swap = threadIdx.x >> 2 & 1;
        *(float4*)(place + 4 * swap) = swap ? second : first;
        *(float4*)(place + 4 - 4 * swap) = swap ? first : second;
    }

    __syncthreads();
    for (int i = threadIdx.x; i < GROUP * HEAD_DIM; i += TILE_THREADS)
    {
        int head = i / HEAD_DIM;
        int d = i % HEAD_DIM;
        float total = 0.0f;
#pragma unroll 4
        for (int s = 0; s < SLICES; s++)
            total += sums[(s * GROUP + head) * DIM + d];
        out[head * head_stride + d] = total;
    }

#pragma unroll
    for (int i = 0; i < WARP_HEADS; i++)
    {
        int head = warp + i * WARPS;
        if (head >= GROUP || lane != 0)
            continue;
        out[head * head_stride + HEAD_DIM] = maximum[i];
        out[head * head_stride + HEAD_DIM + 1] = sum[i];
    }
}
