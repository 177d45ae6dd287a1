// Matrix product on tensor cores.
//
//   out[r][n] (+)= f(sum over k of x[r][k] * w[n][k] + bias[n])
//
// Shapes   x [rows, inner] and w [columns, inner] ELEMENT (bf16, f16), strides multiples of 8; bias [columns] float32 or null; out
//          [rows, columns] float32 (OUTPUT 0, stride a multiple of 4) or ELEMENT (OUTPUT 1, stride a multiple of 8); f by FUNCTION
//          (apply.cuh). Rows, columns and inner are any numbers; nothing beyond a row's own columns is read or written.
// Launch   one block a tile: grid (tiles of rows * tiles of columns), and by name
//            matmul_128x128   128 threads: prefill
//            matmul_64x64     128 threads: where there are too few large tiles for the device
//            matmul_16x32      64 threads: few rows; streams the weights
//          each with 48 KiB of dynamic shared memory.
// Bytes    (rows + columns) * inner * 2 read once into the second level of cache, each tile's operands once from there;
//          sizeof(output) written a value. 2 * rows * columns * inner operations.
// Counted  on the simulated GPU (README.md says how):
//          matmul_128x128, 256 x 256 x 256: moved 1.00, asked 1.50, conflicts 0 %
//          matmul_64x64, 256 x 256 x 256: moved 1.00, asked 2.50, conflicts 0 %
//          matmul_16x32, 256 x 256 x 256: moved 1.00, asked 6.50, conflicts 0 %
//          Asked for beyond moved: each tile's operands, from the second level of cache.
// Why so   Tiles of both operands pass through STAGES buffers of shared memory, filled by copies that run ahead of the arithmetic
//          (cp.async), which also make zeros of what lies beyond an edge. 16-byte pieces are exchanged within a buffer so that
//          neither the copies nor ldmatrix meet a bank twice. A warp's 64x64 sums stay in registers: two matrix operations for
//          each ldmatrix that is issued. ldmatrix takes the columns of w in an order that gives a thread four neighbouring
//          columns of out: whole sectors are written, without a detour. Tiles of GROUP row tiles are neighbours, so that w, the
//          larger operand, is read from memory once.
//          Every shape adds the products of 16 inner columns at a time, in ascending order: a row's bits depend neither on the
//          shape nor on the rows beside it (contract P3).
// Takes    128x128: 207 registers, two blocks a multiprocessor; 64x64: 80; 16x32: 70. No spills.
// Tried    not measured on a GPU.
#include "epilogue.cuh"

// How many tiles of rows share a tile of w while it is in cache.
#define GROUP 8

__device__ inline void multiply(float (&d)[4], const bits32 (&a)[4], bits32 b0, bits32 b1)
{
#if ELEMENT == ELEMENT_BF16
    multiply_bf16(d, a, b0, b1);
#else
    multiply_f16(d, a, b0, b1);
#endif
}

// Where in a buffer of rows of DEPTH elements a piece of 16 bytes lies, in bytes. The pieces of one ldmatrix, and of eight
// neighbouring copies, lie in different banks: rows of x come 0, 1, 2 ... 7, rows of w 0, 1, 4, 5, 8, 9, 12, 13 (see below).
template <int DEPTH>
__device__ inline int place_of_x(int row, int piece)
{
    return 2 * DEPTH * row + 16 * (piece ^ (DEPTH == 32 ? (row >> 1) & 3 : row & 7));
}

template <int DEPTH>
__device__ inline int place_of_w(int row, int piece)
{
    return 2 * DEPTH * row + 16 * (piece ^ (DEPTH == 32 ? (row >> 2) & 3 : (row & 1) | ((row >> 1) & 6)));
}

// A tile of TILE_M rows and TILE_N columns by ACROSS_M x ACROSS_N warps.
template <int TILE_M, int TILE_N, int DEPTH, int ACROSS_M, int ACROSS_N, int STAGES>
__device__ inline void matmul_tile(
    const element* __restrict__ x, int x_stride, const element* __restrict__ w, int w_stride, const float* __restrict__ bias,
    output* __restrict__ out, int out_stride, int rows, int columns, int inner, int accumulate)
{
    constexpr int THREADS = 32 * ACROSS_M * ACROSS_N;
    constexpr int WARP_M = TILE_M / ACROSS_M;
    constexpr int WARP_N = TILE_N / ACROSS_N;
    constexpr int PARTS_M = WARP_M / 16;
    constexpr int PARTS_N = WARP_N / 16;
    constexpr int PIECES = DEPTH / 8;
    constexpr int PASS = THREADS / PIECES;
    constexpr int X_BYTES = 2 * DEPTH * TILE_M;
    constexpr int STAGE_BYTES = X_BYTES + 2 * DEPTH * TILE_N;
    static_assert(TILE_M % PASS == 0 && TILE_N % PASS == 0, "whole passes fill a buffer");
    extern __shared__ __align__(128) char shared[];
    const bits32 buffers = shared_address(shared);
    const int lane = threadIdx.x % 32;
    const int warp_m = threadIdx.x / 32 / ACROSS_N * WARP_M;
    const int warp_n = threadIdx.x / 32 % ACROSS_N * WARP_N;

    // Which tile.
    const int tiles_m = (rows + TILE_M - 1) / TILE_M;
    const int tiles_n = (columns + TILE_N - 1) / TILE_N;
    const int group = blockIdx.x / (GROUP * tiles_n);
    const int within = blockIdx.x % (GROUP * tiles_n);
    const int high = min(GROUP, tiles_m - group * GROUP);
    const int first_row = (group * GROUP + within % high) * TILE_M;
    const int first_column = within / high * TILE_N;

    // The pieces that this thread copies: always the same place within a row, of every PASS-th row.
    const int copy_row = threadIdx.x / PIECES;
    const int copy_piece = threadIdx.x % PIECES;
    const element* next_x = x + (long long)(first_row + copy_row) * x_stride + 8 * copy_piece;
    const element* next_w = w + (long long)(first_column + copy_row) * w_stride + 8 * copy_piece;
    int left = 2 * (inner - 8 * copy_piece);
    auto copy = [&](int stage) {
        const bits32 buffer = buffers + stage * STAGE_BYTES;
        const int bytes = max(0, min(16, left));
#pragma unroll
        for (int row = 0; row < TILE_M; row += PASS)
        {
            bool there = first_row + copy_row + row < rows;
            copy_async(buffer + place_of_x<DEPTH>(copy_row + row, copy_piece), next_x + row * x_stride, there ? bytes : 0);
        }
#pragma unroll
        for (int row = 0; row < TILE_N; row += PASS)
        {
            bool there = first_column + copy_row + row < columns;
            copy_async(buffer + X_BYTES + place_of_w<DEPTH>(copy_row + row, copy_piece), next_w + row * w_stride, there ? bytes : 0);
        }
        next_x += DEPTH;
        next_w += DEPTH;
        left -= 2 * DEPTH;
    };

    // The rows whose addresses this lane gives to ldmatrix: of x 16 rows, then the same 8 columns on; of w 8 of 16 columns of
    // out, 8 inner columns on, and then the other 8. Those are 0, 1, 4, 5, 8, 9, 12, 13 and 2, 3, 6, 7, 10, 11, 14, 15, so
    // that the pairs of sums that a thread gets from both are four neighbours.
    const int row_x = warp_m + lane % 16;
    const int piece_x = lane / 16;
    const int row_w = warp_n + lane % 8 / 2 * 4 + lane % 2 + lane / 16 * 2;
    const int piece_w = lane / 8 % 2;

    float sums[PARTS_M][2 * PARTS_N][4] = {};
    const int steps = (inner + DEPTH - 1) / DEPTH;
#pragma unroll
    for (int stage = 0; stage < STAGES - 1; stage++)
    {
        if (stage < steps)
            copy(stage);
        copy_commit();
    }

    int stage = 0;
    for (int step = 0; step < steps; step++)
    {
        // The buffer of this step is there, and that of the last one is read by nobody any more.
        copy_wait<STAGES - 2>();
        __syncthreads();
        if (step + STAGES - 1 < steps)
            copy(stage == 0 ? STAGES - 1 : stage - 1);
        copy_commit();

        const bits32 buffer_x = buffers + stage * STAGE_BYTES;
        const bits32 buffer_w = buffer_x + X_BYTES;
        stage = stage == STAGES - 1 ? 0 : stage + 1;
#pragma unroll
        for (int k = 0; k < PIECES; k += 2)
        {
            bits32 a[PARTS_M][4];
            bits32 b[PARTS_N][4];
#pragma unroll
            for (int i = 0; i < PARTS_M; i++)
                load_matrices(a[i], buffer_x + place_of_x<DEPTH>(row_x, piece_x + k) + i * 16 * 2 * DEPTH);
#pragma unroll
            for (int j = 0; j < PARTS_N; j++)
                load_matrices(b[j], buffer_w + place_of_w<DEPTH>(row_w, piece_w + k) + j * 16 * 2 * DEPTH);
#pragma unroll
            for (int i = 0; i < PARTS_M; i++)
            {
#pragma unroll
                for (int j = 0; j < PARTS_N; j++)
                {
                    multiply(sums[i][2 * j], a[i], b[j][0], b[j][1]);
                    multiply(sums[i][2 * j + 1], a[i], b[j][2], b[j][3]);
                }
            }
        }
    }

    // A thread's four neighbours of a row: two from each product of a pair.
#pragma unroll
    for (int i = 0; i < PARTS_M; i++)
    {
#pragma unroll
        for (int half = 0; half < 2; half++)
        {
            int row = first_row + warp_m + 16 * i + 8 * half + lane / 4;
            if (row >= rows)
                continue;
#pragma unroll
            for (int j = 0; j < PARTS_N; j++)
            {
                int column = first_column + warp_n + 16 * j + lane % 4 * 4;
                const float* u = &sums[i][2 * j][2 * half];
                const float* v = &sums[i][2 * j + 1][2 * half];
                if (column < columns)
                    finish4(make_float4(u[0], u[1], v[0], v[1]), bias, out + (long long)row * out_stride, column, columns, accumulate);
            }
        }
    }
}

#define MATMUL(NAME, THREADS, TILE_M, TILE_N, DEPTH, ACROSS_M, ACROSS_N, STAGES)                                                  \
    extern "C" __global__ void __launch_bounds__(THREADS) NAME(                                                                   \
        const element* x, int x_stride, const element* w, int w_stride, const float* bias, output* out, int out_stride, int rows, \
        int columns, int inner, int accumulate)                                                                                   \
    {                                                                                                                             \
        matmul_tile<TILE_M, TILE_N, DEPTH, ACROSS_M, ACROSS_N, STAGES>(                                                           \
            x, x_stride, w, w_stride, bias, out, out_stride, rows, columns, inner, accumulate);                                   \
    }

MATMUL(matmul_128x128, 128, 128, 128, 32, 2, 2, 3)
MATMUL(matmul_64x64, 128, 64, 64, 64, 2, 2, 3)
MATMUL(matmul_16x32, 64, 16, 32, 128, 1, 2, 4)
