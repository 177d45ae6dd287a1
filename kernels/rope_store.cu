// Rotary positions (RoPE, arXiv 2104.09864), and keys and values into their pages; keys out of them again.
//
//   rotary_table:  out[r] = [cos t_0 ..., sin t_0 ...],  t_i = position[r, component[i]] * frequency[i]   (component 0 where there is no list:
//                  the three of them are Qwen2-VL's temporal, height and width positions, arXiv 2409.12191)
//   rope_store:    (x_i, x_{i + half}) becomes (x_i cos t_i - x_{i + half} sin t_i, x_{i + half} cos t_i + x_i sin t_i), for the heads of q, in place, and
//                  of k, which goes with v to rows first, first + 1 ... of the layer
//   read_keys:     out[r] = the keys of row first_row + r, head after head, widened and without their padding
//
// Shapes   positions [R, 3] int32; frequencies [half] float32; component [half] int32 or null; out, table [R, 2 * half] float32.
//          q [R, heads * HEAD_DIM], k, v [R, kv_heads * HEAD_DIM] float32 with strides of their own, multiples of 4; q or k (with v) may be null, and
//          the table: nothing is rotated then. HEAD_DIM a multiple of 8. Pages as in pages.cuh. First is first_row, and `*row_at` more where that is not null.
//          out of read_keys [R, kv_heads * HEAD_DIM] float32, stride a multiple of 4.
// Launch   rotary_table: one block of THREADS a row. rope_store: (R, n) blocks of THREADS; the n of a row share its pieces, so that a single
//          row, too, is spread over the GPU. read_keys: one block of THREADS a row.
// Bytes    q twice, k and v once (4 each), the table from cache, 2 for every stored value. read_keys: 2 read and 4 written for every value of a key.
// Counted  on the simulated GPU (README.md says how):
//          rotary_table, 640 rows, heads of 128: moved 1.00, asked 1.59, conflicts 0 %
//          rope_store, 32 rows, 16 and 4 heads of 128: moved 1.00, asked 1.41, conflicts 0 %
//          rope_store, 32 rows, 16 and 4 heads of 72: moved 1.00, asked 1.42, conflicts 0 %
//          read_keys, 64 rows, 4 heads of 128: moved 1.00, asked 1.08, conflicts 0 %
//          read_keys, 64 rows, 4 heads of 72: moved 1.04, asked 1.22, conflicts 0 %
//          Asked for beyond moved: the table, for each head, and of rotary_table the frequencies, for each row, from cache; of read_keys the
//          page's address, and with 72 padding that shares a sector.
// Why so   memory-bound: a thread moves four pairs, 16 bytes to load, 16 or 8 to store. Cosines and sines are made once for all layers, by
//          functions that reduce large angles exactly.
#include "pages.cuh"

#ifndef THREADS
#define THREADS 256
#endif
#if HEAD_DIM % 8 != 0
#error "HEAD_DIM must be a multiple of 8: halves of heads are moved in pieces of 16 bytes"
#endif

#define PAIRS (HEAD_DIM / 8)   // pieces of four pairs in a head
#define PIECES (DIM / 4)       // pieces of four values in a stored head

extern "C" __global__ void __launch_bounds__(THREADS) rotary_table(
    const int* __restrict__ positions, int positions_stride, const float* __restrict__ frequencies, const int* __restrict__ component, int half,
    float* __restrict__ out, int out_stride)
{
    const int* position = positions + (long long)blockIdx.x * positions_stride;
    float* row = out + (long long)blockIdx.x * out_stride;
    for (int i = threadIdx.x; i < half; i += THREADS)
    {
        float cosine;
        float sine;
        sincosf(position[component ? component[i] : 0] * frequencies[i], &sine, &cosine);
        row[i] = cosine;
        row[half + i] = sine;
    }
}

// Rotates four pairs.
__device__ inline void rotate(float4& x, float4& y, const float* angles)
{
    float4 c = *(const float4*)angles;
    float4 s = *(const float4*)(angles + HEAD_DIM / 2);
    float4 z = make_float4(x.x * c.x - y.x * s.x, x.y * c.y - y.y * s.y, x.z * c.z - y.z * s.z, x.w * c.w - y.w * s.w);
    y = make_float4(y.x * c.x + x.x * s.x, y.y * c.y + x.y * s.y, y.z * c.z + x.z * s.z, y.w * c.w + x.w * s.w);
    x = z;
}

__device__ inline void store(element* to, float4 x)
{
    element4 y;
    y.x = narrow(x.x);
    y.y = narrow(x.y);
    y.z = narrow(x.z);
    y.w = narrow(x.w);
    *(element4*)to = y;
}

extern "C" __global__ void __launch_bounds__(THREADS) rope_store(
    float* q, int q_stride, int heads, const float* k, int k_stride, const float* v, int v_stride, int kv_heads, const float* table,
    int table_stride, element* const* pages, const int* row_at, int first_row)
{
    int row = blockIdx.x;
    int stride = gridDim.y * THREADS;
    int thread = blockIdx.y * THREADS + threadIdx.x;
    const float* angles = table ? table + (long long)row * table_stride : table;
    if (q && angles)
    {
        for (int piece = thread; piece < heads * PAIRS; piece += stride)
        {
            int i = 4 * (piece % PAIRS);
            float* place = q + (long long)row * q_stride + piece / PAIRS * HEAD_DIM + i;
            float4 x = *(const float4*)place;
            float4 y = *(const float4*)(place + HEAD_DIM / 2);
            rotate(x, y, angles + i);
            *(float4*)place = x;
            *(float4*)(place + HEAD_DIM / 2) = y;
        }
    }

    if (!k)
        return;
    int stored = first_row + (row_at ? *row_at : 0) + row;
    element* page = pages[stored / PAGE] + stored % PAGE * DIM;
    for (int piece = thread; piece < kv_heads * PAIRS; piece += stride)
    {
        int head = piece / PAIRS;
        int i = 4 * (piece % PAIRS);
        const float* place = k + (long long)row * k_stride + head * HEAD_DIM + i;
        float4 x = *(const float4*)place;
        float4 y = *(const float4*)(place + HEAD_DIM / 2);
        if (angles)
            rotate(x, y, angles + i);
        element* to = page + (long long)head * PAGE * DIM;
        store(to + i, x);
        store(to + i + HEAD_DIM / 2, y);
        for (int d = HEAD_DIM + i; d < DIM; d += HEAD_DIM / 2)
            store(to + d, make_float4(0.0f, 0.0f, 0.0f, 0.0f));
    }

    for (int piece = thread; piece < kv_heads * PIECES; piece += stride)
    {
        int head = piece / PIECES;
        int i = 4 * (piece % PIECES);
        float4 x = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
        if (i < HEAD_DIM)
            x = *(const float4*)(v + (long long)row * v_stride + head * HEAD_DIM + i);
        store(page + (long long)(kv_heads + head) * PAGE * DIM + i, x);
    }
}

extern "C" __global__ void __launch_bounds__(THREADS) read_keys(
    const element* const* pages, int first_row, int kv_heads, float* __restrict__ out, int out_stride)
{
    int stored = first_row + blockIdx.x;
    const element* page = pages[stored / PAGE] + stored % PAGE * DIM;
    float* row = out + (long long)blockIdx.x * out_stride;
    for (int piece = threadIdx.x; piece < kv_heads * (HEAD_DIM / 4); piece += THREADS)
    {
        int head = piece / (HEAD_DIM / 4);
        element4 key = *(const element4*)(keys_of(page, head) + 4 * (piece % (HEAD_DIM / 4)));
        *(float4*)(row + 4 * piece) = make_float4(widen(key.x), widen(key.y), widen(key.z), widen(key.w));
    }
}
