// Segment attention (contract S): flash attention (arXiv 2205.14135, 2307.08691) in which each query row sees what its segment's
// key ranges show it.
//
//   s[i, j]   = scale * q[i] . k[j] + bias[j]                            over the keys j that row i sees
//   lse[i]    = log sum over j of e^s[i, j]                              -inf where it sees none
//   out[i]    = sum over j of e^(s[i, j] - lse[i]) * v(j)                0 where it sees none
//   v(j)      = v[j]; 0 in a range of value none; v[sink] in a range of value sink
//
// Shapes   q [rows, heads * HEAD_DIM] float32, rounded to ELEMENT when it is read; out [rows, heads * HEAD_DIM] ELEMENT;
//          lse [rows, heads] float32 or null. Keys and values lie in pages [K|V, kv_heads, 64, DIM] ELEMENT, where DIM is HEAD_DIM
//          rounded up to a multiple of 16, with zeros behind the head. key_mask: bit k set where key k is there, null for all;
//          key_bias [keys] or null; head_masks [n, (heads + 31) / 32]: bit h set where head h skips the ranges that name the mask.
//          A tile is up to 64 rows of one segment. HEAD_DIM a multiple of 8 up to 160; scale > 0; q_stride even, out_stride a
//          multiple of 8; q, pages and out begin at multiples of 16 bytes.
// Launch   grid (tiles, heads), 128 threads, 3 * 64 * DIM * 2 bytes of dynamic shared memory: two pages of keys, one of values.
//          A warp has 16 rows of the tile.
// Bytes    a tile and head reads its queries once, and of each page that some row of the tile may see 2 * 64 * DIM * 2 bytes
//          (half of that where values do not count); pages outside its ranges, beyond its diagonal or window, or masked altogether
//          are not touched. Each output is written once, in pieces of 16 bytes.
// Counted  on the simulated GPU (README.md says how):
//          segment_attention, 192 rows, causal, 2 heads of 64: moved 1.00, asked 1.47, conflicts 0 %
//          segment_attention, 192 rows, causal, 2 heads of 72: moved 1.00, asked 1.52, conflicts 0 %
//          segment_attention, 192 rows, causal, 2 heads of 80: moved 1.00, asked 1.46, conflicts 0 %
//          segment_attention, 192 rows, causal, 2 heads of 96: moved 1.00, asked 1.45, conflicts 0 %
//          segment_attention, 192 rows, causal, 2 heads of 128: moved 1.00, asked 1.44, conflicts 0 %
//          Asked for beyond moved: keys and values, for each tile of queries, from the second level of cache.
// Work     a warp multiplies DIM matrices (m16n8k16) for a page, DIM / 2 where values do not count: 1 / 64 of DIM a key; none where
//          none of its rows sees a key of the page. Each ldmatrix feeds two products. Shared memory is swizzled: ldmatrix,
//          the copies and the results on their way out meet no bank conflict.
// Occupancy  by registers (budget.json) and shared memory, blocks of a multiprocessor on sm_80 / sm_86, 89 / sm_90:
//          heads of 64: 24 KiB: 3 / 3 / 3; of 72 and 80: 30 KiB: 2 / 2 / 3; of 96: 36 KiB: 2 / 2 / 2; of 128: 48 KiB: 2 / 2 / 2;
//          of 160: 60 KiB: 2 / 1 / 2.
// Why so   Keys are fetched a whole step ahead; values while scores and softmax are worked on. Values have one buffer and not two,
//          which costs a second barrier a step: so two blocks of heads of 128 fit into the 100 KiB of sm_86 and sm_89.
//          Queries go from global memory straight into fragments and stay in registers, as do scores, which are packed into the
//          left operand of the second product where they are. Masks are 64 bits a row, worked out only for pages that need them.
//          A row does not depend on the rows beside it: keys meet it page by page, and a page of which it sees nothing has
//          the correction 2^0 = 1 and the probabilities 0.
// Tried    copies numbered through the page by thread (16 registers more, for the offsets); three blocks forced by launch bounds
//          (heads of 96 and more spill; 72 on sm_80 too); heads of 256 (268 bytes spilled: refused); 64 queries on two
//          warps of 32 rows would halve the shared-memory reads, but double the registers of output and scores.
#include "tiles.cuh"

#ifndef HEAD_DIM
#define HEAD_DIM 64
#endif
#if HEAD_DIM % 8 != 0
#error "HEAD_DIM must be a multiple of 8: rows of results are written in pieces of 16 bytes"
#endif

#define THREADS 128
#define DIM ((HEAD_DIM + 15) / 16 * 16)    // a head as pages hold it
#define CHUNKS (DIM / 8)                   // pieces of 16 bytes in a row of a page
#define TILE_BYTES (PAGE * DIM * 2)        // keys or values of one page and head

// Eight rows of one column of chunks must fall into eight different groups of four banks; which bits of the row have to be mixed
// into the chunk's number for that depends on how many chunks a row has.
#if CHUNKS % 8 == 0
#define SWIZZLE(row) ((row) & 7)
#define SWIZZLED 7
#elif CHUNKS % 4 == 0
#define SWIZZLE(row) ((row) >> 1 & 3)
#define SWIZZLED 3
#else
#define SWIZZLE(row) ((row) >> 2 & 1)
#define SWIZZLED 1
#endif

// So many threads copy a row together, which is as many chunks as are mixed: eight threads write to all banks.
#define GROUP (SWIZZLED + 1)

#define MINUS_INFINITY __int_as_float(0xff800000)
#define LOG2_E 1.4426950408889634f
#define LN_2 0.6931471805599453f

__device__ inline bits32 pack(float a, float b)
{
#if ELEMENT == ELEMENT_BF16
    return floats_to_bf16(a, b);
#else
    return floats_to_f16(a, b);
#endif
}

__device__ inline void multiply(float (&d)[4], const bits32 (&a)[4], bits32 b0, bits32 b1)
{
#if ELEMENT == ELEMENT_BF16
    multiply_bf16(d, a, b0, b1);
#else
    multiply_f16(d, a, b0, b1);
#endif
}

// Keys or values of one head and page into shared memory, swizzled; rows before the first and after the last key that is there
// become zeros and are not read.
__device__ inline void load_tile(bits32 to, const element* __restrict__ from, bits64 there)
{
    int first = __ffsll(there) - 1;
    int count = PAGE - __clzll(there) - first;
    int row = threadIdx.x / GROUP;
    int lane = threadIdx.x % GROUP;
    to += 16 * (row * CHUNKS + (lane ^ SWIZZLE(row)));
    from += 8 * (row * CHUNKS + lane);
#pragma unroll
    for (int i = 0; i < PAGE; i += THREADS / GROUP)
    {
        int bytes = (unsigned)(row + i - first) < (unsigned)count ? 16 : 0;
#pragma unroll
        for (int chunk = i * CHUNKS; chunk < (i + 1) * CHUNKS; chunk += GROUP)
            copy_async(to + 16 * chunk, from + 8 * chunk, bytes);
    }
}

// Bytes from a lane's row to its chunk 2 * pair + odd, where mixed = odd ^ SWIZZLE(row).
__device__ inline int chunk_offset(int pair, int mixed) { return 16 * (((2 * pair & SWIZZLED) ^ mixed) + (2 * pair & ~SWIZZLED)); }

extern "C" __global__ void __launch_bounds__(THREADS, 2) segment_attention(
    const float* __restrict__ q, int q_stride, const element* const* __restrict__ pages, const Tile* __restrict__ tiles,
    const Range* __restrict__ ranges, const bits32* __restrict__ key_mask, const float* __restrict__ key_bias,
    const bits32* __restrict__ head_masks, float scale, element* __restrict__ out, int out_stride, float* __restrict__ lse,
    int lse_stride, int heads, int kv_heads)
{
    extern __shared__ __align__(128) element shared[];
    bits32 keys = shared_address(shared);
    bits32 values = keys + 2 * TILE_BYTES;
    int lane = threadIdx.x & 31;
    int warp = threadIdx.x >> 5;
    int g = lane >> 2;
    int t = lane & 3;
    int head = blockIdx.y;
    const Tile tile = tiles[blockIdx.x];
    int last_range = tile.first_range + tile.range_count;
    int live = tile.rows - 16 * warp; // of the warp's rows
    int query = tile.place + 16 * warp + g;
    long long key_place = (long long)(head / (heads / kv_heads)) * PAGE * DIM;
    long long value_place = key_place + (long long)kv_heads * PAGE * DIM;

    Step next;
    next.range = tile.first_range - 1;
    next.page = next.page_end = 0;
    advance(next, last_range, ranges, tile, head, heads, key_mask, head_masks, pages);
    if (next.range < last_range)
        load_tile(keys, next.data + key_place, next.there);
    copy_commit();

    // The queries, as left operands.
    bits32 queries[DIM / 16][4];
#pragma unroll
    for (int k = 0; k < DIM / 16; k++)
    {
#pragma unroll
        for (int i = 0; i < 4; i++)
        {
            int row = g + (i & 1) * 8;
            int column = 16 * k + (i >> 1) * 8;
            float2 x = make_float2(0.0f, 0.0f);
            if (column < HEAD_DIM && row < live)
                x = *(const float2*)(q + (long long)(tile.row + 16 * warp + row) * q_stride + head * HEAD_DIM + column + 2 * t);
            queries[k][i] = pack(x.x, x.y);
        }
    }

    // Where this lane's rows of keys and values begin in a tile, for ldmatrix.
    int key_row = (lane >> 4) * 8 + (lane & 7);
    int value_row = lane & 15;
    int key_mixed = (lane >> 3 & 1) ^ SWIZZLE(lane & 7);
    int value_mixed = (lane >> 4) ^ SWIZZLE(lane & 7);

    float output[DIM / 8][4] = {};
    float maximum[2] = {MINUS_INFINITY, MINUS_INFINITY}; // of the scores so far, times log2(e)
    float sum[2] = {};                                   // this lane's part
    float mass[2] = {};                                  // of the range's keys, for a sink: this lane's part
    int buffer = 0;
    while (next.range < last_range)
    {
        Step now = next;
        const Range& range = ranges[now.range];
        int value = range.value;
        advance(next, last_range, ranges, tile, head, heads, key_mask, head_masks, pages);

        // The keys have come, and no warp is still at the step before.
        copy_wait<0>();
        __syncthreads();
        if (value == VALUE_OWN)
            load_tile(values, now.data + value_place, now.there);
        copy_commit();
        if (next.range < last_range)
            load_tile(keys + (buffer ^ 1) * TILE_BYTES, next.data + key_place, next.there);
        copy_commit();

        bool masked = now.there != ~0ull || range.rule == RULE_WINDOW
            || (range.rule == RULE_DIAGONAL && range.start + tile.place + 16 * warp < now.page * PAGE + PAGE - 1);
        bits64 seen[2] = {~0ull, ~0ull};
        bool active = live > 0;
        if (masked)
        {
#pragma unroll
            for (int half = 0; half < 2; half++)
            {
                seen[half] = g + 8 * half < live ? now.there : 0;
                if (range.rule != RULE_FULL && seen[half])
                    seen[half] &= visible(range, now.page, query + 8 * half);
            }

            active = __any_sync(0xffffffffu, (seen[0] | seen[1]) != 0);
        }

        float scores[PAGE / 8][4];
        if (active)
        {
#pragma unroll
            for (int n = 0; n < PAGE / 8; n++)
                scores[n][0] = scores[n][1] = scores[n][2] = scores[n][3] = 0.0f;
            bits32 row = keys + buffer * TILE_BYTES + key_row * DIM * 2;
#pragma unroll
            for (int k = 0; k < DIM / 16; k++)
            {
#pragma unroll
                for (int n = 0; n < PAGE / 16; n++)
                {
                    bits32 b[4];
                    load_matrices(b, row + chunk_offset(k, key_mixed) + n * 16 * DIM * 2);
                    multiply(scores[2 * n], queries[k], b[0], b[1]);
                    multiply(scores[2 * n + 1], queries[k], b[2], b[3]);
                }
            }

            float factor = scale * LOG2_E;
            if (key_bias)
            {
#pragma unroll
                for (int n = 0; n < PAGE / 8; n++)
                {
#pragma unroll
                    for (int i = 0; i < 2; i++)
                    {
                        int key = 8 * n + 2 * t + i;
                        float bias = now.there >> key & 1 ? LOG2_E * key_bias[now.page * PAGE + key] : 0.0f;
                        scores[n][i] = fmaf(scores[n][i], factor, bias);
                        scores[n][2 + i] = fmaf(scores[n][2 + i], factor, bias);
                    }
                }

                factor = 1.0f;
            }

            float correction[2];
#pragma unroll
            for (int half = 0; half < 2; half++)
            {
                if (masked)
                {
                    bits64 own = seen[half] >> 2 * t;
#pragma unroll
                    for (int n = 0; n < PAGE / 8; n++)
                    {
#pragma unroll
                        for (int i = 0; i < 2; i++)
                        {
                            if (!(own >> (8 * n + i) & 1))
                                scores[n][2 * half + i] = MINUS_INFINITY;
                        }
                    }
                }

                float largest = MINUS_INFINITY;
#pragma unroll
                for (int n = 0; n < PAGE / 8; n++)
                    largest = fmaxf(largest, fmaxf(scores[n][2 * half], scores[n][2 * half + 1]));
                largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, 1));
                largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, 2));
                largest = fmaxf(maximum[half], largest * factor);

                // A row that has seen nothing yet has the maximum -inf; -inf - -inf must not arise.
                float origin = largest == MINUS_INFINITY ? 0.0f : largest;
                correction[half] = power_of_two(maximum[half] - origin);
                maximum[half] = largest;
                float part = 0.0f;
#pragma unroll
                for (int n = 0; n < PAGE / 8; n++)
                {
#pragma unroll
                    for (int i = 0; i < 2; i++)
                    {
                        scores[n][2 * half + i] = power_of_two(fmaf(scores[n][2 * half + i], factor, -origin));
                        part += scores[n][2 * half + i];
                    }
                }

                sum[half] = fmaf(sum[half], correction[half], part);
                if (value == VALUE_SINK)
                    mass[half] = fmaf(mass[half], correction[half], part);
            }

            // Mostly the maximum stays; times 1 would change nothing.
            if (__any_sync(0xffffffffu, correction[0] != 1.0f || correction[1] != 1.0f))
            {
#pragma unroll
                for (int n = 0; n < DIM / 8; n++)
                {
#pragma unroll
                    for (int i = 0; i < 4; i++)
                        output[n][i] *= correction[i >> 1];
                }
            }
        }

        if (value == VALUE_OWN)
        {
            // The values have come; the next keys may still be on their way.
            copy_wait<1>();
            __syncthreads();
            if (active)
            {
                bits32 row = values + value_row * DIM * 2;
#pragma unroll
                for (int k = 0; k < PAGE / 16; k++)
                {
                    bits32 a[4];
#pragma unroll
                    for (int i = 0; i < 4; i++)
                        a[i] = pack(scores[2 * k + (i >> 1)][2 * (i & 1)], scores[2 * k + (i >> 1)][2 * (i & 1) + 1]);
#pragma unroll
                    for (int n = 0; n < DIM / 16; n++)
                    {
                        bits32 b[4];
                        load_matrices_transposed(b, row + chunk_offset(n, value_mixed) + k * 16 * DIM * 2);
                        multiply(output[2 * n], a, b[0], b[1]);
                        multiply(output[2 * n + 1], a, b[2], b[3]);
                    }
                }
            }
        }

        if (value == VALUE_SINK && next.range != now.range)
        {
#pragma unroll
            for (int half = 0; half < 2; half++)
            {
                mass[half] += __shfl_xor_sync(0xffffffffu, mass[half], 1);
                mass[half] += __shfl_xor_sync(0xffffffffu, mass[half], 2);
            }

            const element* sink = pages[range.sink / PAGE] + value_place + range.sink % PAGE * DIM + 2 * t;
#pragma unroll
            for (int n = 0; n < DIM / 8; n++)
            {
                bits32 pair = *(const bits32*)(sink + 8 * n);
                float x = widen((element)pair);
                float y = widen((element)(pair >> 16));
                output[n][0] = fmaf(mass[0], x, output[n][0]);
                output[n][1] = fmaf(mass[0], y, output[n][1]);
                output[n][2] = fmaf(mass[1], x, output[n][2]);
                output[n][3] = fmaf(mass[1], y, output[n][3]);
            }

            mass[0] = mass[1] = 0.0f;
        }

        buffer ^= 1;
    }

    // The warp's rows go through its part of the keys' memory, so that each is written in pieces of 16 bytes.
    __syncthreads();
    element* rows = shared + 16 * warp * DIM;
#pragma unroll
    for (int half = 0; half < 2; half++)
    {
        int row = g + 8 * half;
        sum[half] += __shfl_xor_sync(0xffffffffu, sum[half], 1);
        sum[half] += __shfl_xor_sync(0xffffffffu, sum[half], 2);
        float inverse = sum[half] == 0.0f ? 0.0f : 1.0f / sum[half];
#pragma unroll
        for (int n = 0; n < DIM / 8; n++)
        {
            *(bits32*)(rows + row * DIM + 8 * (n ^ SWIZZLE(row)) + 2 * t) =
                pack(output[n][2 * half] * inverse, output[n][2 * half + 1] * inverse);
        }

        if (lse && t == 0 && row < live)
        {
            lse[(long long)(tile.row + 16 * warp + row) * lse_stride + head] =
                sum[half] == 0.0f ? MINUS_INFINITY : fmaf(maximum[half], LN_2, logf(sum[half]));
        }
    }

    __syncwarp();
    for (int place = lane; place < 16 * CHUNKS; place += 32)
    {
        int row = place / CHUNKS;
        int chunk = place % CHUNKS;
        if (row < live && 8 * chunk < HEAD_DIM)
        {
            *(uint4*)(out + (long long)(tile.row + 16 * warp + row) * out_stride + head * HEAD_DIM + 8 * chunk) =
                *(const uint4*)(rows + row * DIM + 8 * (chunk ^ SWIZZLE(row)));
        }
    }
}
