// Probabilities of named query rows (contract S4), recomputed from queries and keys, and reduced where they are made: no matrix of one head
// is ever stored.
//
//   probe:               out = weight * sum of p[i, h, j] over the block's rows i and heads h,  p = e^(scale * q.k + bias - lse) where the plan
//                        shows key j to row i and head h, else exactly 0
//   row_log_sum_exp:     lse[i, h] = log of the sum of e^(scale * q.k + bias) over the keys that row i sees; -inf where it sees none. Before probe it
//                        makes the probe of a layer whose attention has not run (PyramidDrop, arXiv 2410.17247)
//   value_probe:         A_j = sum over h of p * <O_h, v_hj>,  B_j = sum over h of p^2 * |v_hj|^2,  for each named row;  O the row's attention
//   row_squares:         S = |O|^2, of which, with A and B, VisiPruner (arXiv 2510.17205) makes its cosines and norms
//   sum_parts:           out[line] = weight * sum of parts[p][line] over p
//
// Shapes   q [R, heads * HEAD_DIM], lse float32 with strides; pages as in pages.cuh, `keys` rows; rows [n] int32; segments and ranges as in plan.cuh; key_mask a bit
//          for each key, key_bias float32 a key, head_masks (plan.cuh): null where the plan has none. out [.., keys] float32. attended
//          [n, heads * HEAD_DIM] float32: O, a line for each named row. lse_of_rows: lse has a line for each row of q, not for each named row.
// Launch   probe (pages, ceil(n / rows_per_block), heads / heads_per_block): block y, z writes line out + y * row_stride + z * head_stride.
//             mean over heads: one row a block, all heads, or a KV head's own and sum_parts over z
//             mean over rows:  one head a block, all rows, or some and sum_parts over y.   Both: the same, sum_parts over y and z
//          row_log_sum_exp (n, kv_heads).   value_probe (pages, n, kv_heads): out [kv_heads][n][A, B][keys].   All of TILE_THREADS threads and
//          PROBE_BYTES of dynamic shared memory (value_probe: VALUE_BYTES).   row_squares (n), sum_parts (ceil(keys / 128), lines), 128 threads.
// Bytes    probe: a page's keys once for each block that has rows which see it, 128 * HEAD_DIM a KV head, and q once for each block; out 4 a key.
// Counted  on the simulated GPU (README.md says how):
//          probe, 1 row, 640 keys, 2 KV heads of 128, groups of 4: moved 1.00, asked 1.24, conflicts 0 %
//          row_log_sum_exp, 1 row, 640 keys, 2 KV heads of 128, groups of 4: moved 1.00, asked 1.10, conflicts 0 %
//          value_probe, 1 row, 640 keys, 2 KV heads of 128, groups of 4: moved 1.00, asked 1.20, conflicts 0 %
//          row_squares, 1 row of 1024: moved 1.01, asked 1.01, conflicts 0 %
//          sum_parts, 2 parts of 2 x 640: moved 1.00, asked 1.00, conflicts 0 %
//          Asked for beyond moved: the row, its place in the plan, its query and log-sum-exp, for each page, from cache.
// Why so   the scores are ranked afterwards, so that all is float32: products on the ordinary cores with keys widened in registers, four vectors at
//          a time for one reading of the tile. A KV head's sum is made by itself, in one order, wherever the other heads are: a block of all heads and
//          blocks of one each give the same bits.
#include "pages.cuh"
#include "plan.cuh"
#include "reduce.cuh"

#define VECTORS 4                                           // multiplied with a tile at once
#define TILE (PAGE * DIM)
#define MOST_ROWS 64                                        // of a block
#define PROBE_BYTES (TILE * sizeof(element) + VECTORS * DIM * sizeof(float) + MOST_ROWS * sizeof(ProbeRow) + 16)
#define VALUE_BYTES (2 * TILE * sizeof(element) + 2 * VECTORS * DIM * sizeof(float))
#define MINUS_INFINITY __int_as_float(0xff800000)

// What a plan shows.
struct View
{
    const Segment* segments;
    int segment_count;
    const Range* ranges;
    const bits32* key_mask;
    const float* key_bias;
    const bits32* head_masks;
};

// A named row, its place in its segment, and the segment's ranges.
struct ProbeRow
{
    int row, place, first_range, range_count;
};

__device__ inline ProbeRow locate(const View& view, int row)
{
    ProbeRow found = {row, 0, 0, 0};
    for (int i = 0; i < view.segment_count; i++)
    {
        Segment segment = view.segments[i];
        if (row >= segment.start && row < segment.end)
        {
            found.place = row - segment.start;
            found.first_range = segment.first_range;
            found.range_count = segment.range_count;
        }
    }

    return found;
}

__device__ inline bool sees(const View& view, const ProbeRow& row, int heads, int head, int key)
{
    if (view.key_mask && !(view.key_mask[key >> 5] >> (key & 31) & 1))
        return false;
    for (int i = row.first_range; i < row.first_range + row.range_count; i++)
    {
        if (sees(view.ranges[i], row.place, key))
            return !skips(view.ranges[i], view.head_masks, heads, head);
    }

    return false;
}

// Whether some range of the row, as far as it goes, lies in the page.
__device__ inline bool meets(const View& view, const ProbeRow& row, int page)
{
    for (int i = row.first_range; i < row.first_range + row.range_count; i++)
    {
        const Range& range = view.ranges[i];
        int end = range.rule == RULE_DIAGONAL ? min(range.end, range.start + row.place + 1) : range.end;
        if (range.start < (page + 1) * PAGE && end > page * PAGE)
            return true;
    }

    return false;
}

// VECTORS heads' vectors into shared memory: that of entry e is row e / width, head first_head + e % width; entries from `entries` on are zero.
__device__ inline void load_vectors(
    float* to, const float* __restrict__ from, int stride, const int* rows, int first_head, int width, int entry, int entries)
{
    for (int i = threadIdx.x; i < VECTORS * DIM; i += TILE_THREADS)
    {
        int e = entry + i / DIM;
        int d = i % DIM;
        float x = 0.0f;
        if (e < entries && d < HEAD_DIM)
        {
            int row = rows ? rows[e / width] : e / width;
            x = from[(long long)row * stride + (first_head + e % width) * HEAD_DIM + d];
        }

        to[i] = x;
    }
}

extern "C" __global__ void __launch_bounds__(TILE_THREADS, 4) probe(
    const float* __restrict__ q, int q_stride, const element* const* __restrict__ pages, int keys, const int* __restrict__ rows, int row_count,
    int rows_per_block, View view, float scale, const float* __restrict__ lse, int lse_stride, int lse_of_rows, int heads, int kv_heads,
    int heads_per_block, float weight, float* __restrict__ out, long long row_stride, long long head_stride)
{
    extern __shared__ __align__(16) element shared[];
    element* tile = shared;
    float* vectors = (float*)(shared + TILE);
    ProbeRow* own = (ProbeRow*)(vectors + VECTORS * DIM); // the block's rows
    int* seen = (int*)(own + MOST_ROWS);
    int page = blockIdx.x;
    int first_row = blockIdx.y * rows_per_block;
    int count = min(rows_per_block, row_count - first_row);
    int key = page * PAGE + tile_row();
    int part = threadIdx.x & 3;
    float totals[2] = {};

    if (threadIdx.x == 0)
        *seen = 0;
    __syncthreads();
    for (int i = threadIdx.x; i < count; i += TILE_THREADS)
    {
        own[i] = locate(view, rows[first_row + i]);
        if (meets(view, own[i], page))
            *seen = 1;
    }

    __syncthreads();
    int last = *seen ? (blockIdx.z + 1) * heads_per_block : 0;
    int group = heads / kv_heads;
    for (int head = blockIdx.z * heads_per_block; head < last;)
    {
        int kv_head = head / group;
        int width = min((kv_head + 1) * group, last) - head;
        load_tile<true>(tile, keys_of(pages[page], kv_head), keys - page * PAGE);
        copy_commit();
        float sums[2] = {};
        for (int entry = 0; entry < width * count; entry += VECTORS)
        {
            load_vectors(vectors, q, q_stride, rows + first_row, head, width, entry, width * count);
            copy_wait<0>();
            __syncthreads();
            float products[2][VECTORS];
            dot_tile(tile, vectors, products);
            int e = entry + part;
#pragma unroll
            for (int k = 0; k < 2; k++)
            {
                float product = quad_share(products[k]);
                int at = key + k * (PAGE / 2);
                if (e >= width * count || at >= keys)
                    continue;
                ProbeRow row = own[e / width];
                int h = head + e % width;
                if (!sees(view, row, heads, h, at))
                    continue;
                float bias = (view.key_bias ? view.key_bias[at] : 0.0f) - lse[(long long)(lse_of_rows ? row.row : first_row + e / width) * lse_stride + h];
                sums[k] += expf(fmaf(scale, product, bias));
            }

            __syncthreads();
        }

        totals[0] += quad_sum(sums[0]);
        totals[1] += quad_sum(sums[1]);
        head += width;
    }

    float* line = out + blockIdx.y * row_stride + blockIdx.z * head_stride;
    if (part < 2 && key + part * (PAGE / 2) < keys)
        line[key + part * (PAGE / 2)] = weight * (part ? totals[1] : totals[0]);
}

extern "C" __global__ void __launch_bounds__(TILE_THREADS, 4) row_log_sum_exp(
    const float* __restrict__ q, int q_stride, const element* const* __restrict__ pages, int keys, const int* __restrict__ rows,
    View view, float scale, int heads, int kv_heads, float* __restrict__ lse, int lse_stride)
{
    extern __shared__ __align__(16) element shared[];
    element* tile = shared;
    float* vectors = (float*)(shared + TILE);
    float2* parts = (float2*)tile;
    ProbeRow row = locate(view, rows[blockIdx.x]);
    int group = heads / kv_heads;
    int part = threadIdx.x & 3;
    for (int entry = 0; entry < group; entry += VECTORS)
    {
        int head = blockIdx.y * group + entry + part;
        float maximum = MINUS_INFINITY;
        float sum = 0.0f;
        __syncthreads();
        load_vectors(vectors, q, q_stride, rows + blockIdx.x, blockIdx.y * group, group, entry, group);
        for (int page = 0; page * PAGE < keys; page++)
        {
            if (!meets(view, row, page))
                continue;
            load_tile<true>(tile, keys_of(pages[page], blockIdx.y), keys - page * PAGE);
            copy_commit();
            copy_wait<0>();
            __syncthreads();
            float products[2][VECTORS];
            dot_tile(tile, vectors, products);
#pragma unroll
            for (int k = 0; k < 2; k++)
            {
                float score = quad_share(products[k]);
                int key = page * PAGE + tile_row() + k * (PAGE / 2);
                if (entry + part >= group || key >= keys || !sees(view, row, heads, head, key))
                    continue;
                score = fmaf(scale, score, view.key_bias ? view.key_bias[key] : 0.0f);
                float largest = fmaxf(maximum, score);
                sum = sum * expf(maximum - largest) + expf(score - largest);
                maximum = largest;
            }

            __syncthreads();
        }

        parts[threadIdx.x] = make_float2(maximum, sum);
        __syncthreads();
        if (threadIdx.x < VECTORS && entry + part < group)
        {
            maximum = MINUS_INFINITY;
            for (int i = part; i < TILE_THREADS; i += VECTORS)
                maximum = fmaxf(maximum, parts[i].x);
            sum = 0.0f;
            for (int i = part; i < TILE_THREADS; i += VECTORS)
                sum += parts[i].y == 0.0f ? 0.0f : parts[i].y * expf(parts[i].x - maximum);
            lse[(long long)blockIdx.x * lse_stride + head] = sum == 0.0f ? MINUS_INFINITY : maximum + logf(sum);
        }
    }
}

extern "C" __global__ void __launch_bounds__(TILE_THREADS, 4) value_probe(
    const float* __restrict__ q, int q_stride, const float* __restrict__ attended, int attended_stride, const element* const* __restrict__ pages,
    int keys, const int* __restrict__ rows, View view, float scale, const float* __restrict__ lse, int lse_stride,
    int lse_of_rows, int heads, int kv_heads, float* __restrict__ out)
{
    extern __shared__ __align__(16) element shared[];
    element* key_tile = shared;
    element* value_tile = shared + TILE;
    float* queries = (float*)(shared + 2 * TILE);
    float* vectors = queries + VECTORS * DIM;
    ProbeRow row = locate(view, rows[blockIdx.y]);
    int page = blockIdx.x;
    int kv_head = blockIdx.z;
    int group = heads / kv_heads;
    int key = page * PAGE + tile_row();
    int part = threadIdx.x & 3;
    float shares[2] = {};  // A
    float squares[2] = {}; // B
    if (meets(view, row, page))
    {
        load_tile<true>(key_tile, keys_of(pages[page], kv_head), keys - page * PAGE);
        load_tile<true>(value_tile, values_of(pages[page], kv_heads, kv_head), keys - page * PAGE);
        copy_commit();
        float lengths[2] = {}; // |v|^2
        for (int entry = 0; entry < group; entry += VECTORS)
        {
            load_vectors(queries, q, q_stride, rows + blockIdx.y, kv_head * group, group, entry, group);
            load_vectors(vectors, attended + (long long)blockIdx.y * attended_stride, 0, 0, kv_head * group, group, entry, group);
            copy_wait<0>();
            __syncthreads();
            if (entry == 0)
            {
#pragma unroll
                for (int k = 0; k < 2; k++)
                {
                    for (int chunk = part; chunk < CHUNKS; chunk += 4)
                    {
                        float x[8];
                        widen_chunk(value_tile + 8 * chunk_place(tile_row() + k * (PAGE / 2), chunk), x);
#pragma unroll
                        for (int e = 0; e < 8; e++)
                            lengths[k] = fmaf(x[e], x[e], lengths[k]);
                    }

                    lengths[k] = quad_sum(lengths[k]);
                }
            }

            float scores[2][VECTORS];
            float projections[2][VECTORS];
            dot_tile(key_tile, queries, scores);
            dot_tile(value_tile, vectors, projections);
#pragma unroll
            for (int k = 0; k < 2; k++)
            {
                float score = quad_share(scores[k]);
                float projection = quad_share(projections[k]);
                int at = key + k * (PAGE / 2);
                int head = kv_head * group + entry + part;
                if (entry + part >= group || at >= keys || !sees(view, row, heads, head, at))
                    continue;
                float bias = (view.key_bias ? view.key_bias[at] : 0.0f) - lse[(long long)(lse_of_rows ? row.row : blockIdx.y) * lse_stride + head];
                float p = expf(fmaf(scale, score, bias));
                shares[k] = fmaf(p, projection, shares[k]);
                squares[k] = fmaf(p * p, lengths[k], squares[k]);
            }

            __syncthreads();
        }
    }

    float* line = out + 2ll * (blockIdx.z * gridDim.y + blockIdx.y) * keys;
#pragma unroll
    for (int k = 0; k < 2; k++)
    {
        float share = quad_sum(shares[k]);
        float square = quad_sum(squares[k]);
        int at = key + k * (PAGE / 2);
        if (at < keys && part == 0)
            line[at] = share;
        if (at < keys && part == 1)
            line[keys + at] = square;
    }
}

extern "C" __global__ void __launch_bounds__(TILE_THREADS) row_squares(
    const float* __restrict__ attended, int attended_stride, int columns, float* __restrict__ out)
{
    extern __shared__ __align__(16) element shared[];
    const float* row = attended + (long long)blockIdx.x * attended_stride;
    float sum = 0.0f;
    for (int i = threadIdx.x; i < columns; i += TILE_THREADS)
        sum = fmaf(row[i], row[i], sum);
    sum = block_sum(sum, (float*)shared);
    if (threadIdx.x == 0)
        out[blockIdx.x] = sum;
}

extern "C" __global__ void __launch_bounds__(TILE_THREADS) sum_parts(
    const float* __restrict__ parts, int count, long long part_stride, int columns, float weight, float* __restrict__ out, int out_stride)
{
    int column = blockIdx.x * TILE_THREADS + threadIdx.x;
    if (column >= columns)
        return;
    const float* line = parts + (long long)blockIdx.y * columns + column;
    float sum = 0.0f;
    for (int p = 0; p < count; p++)
        sum += line[p * part_stride];
    out[(long long)blockIdx.y * out_stride + column] = weight * sum;
}
