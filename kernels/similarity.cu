// How alike rows are: products of every row of x with every row of y, in float32 throughout.
//
//   similarity:  out[i][j] = sum over k of x[i][k] y[j][k],  or their cosine: that over |x[i]| |y[j]|, 0 where one of the two is 0
//
// Shapes   x [n, columns], y [m, columns] float32, which may be the same, strides multiples of 4, columns any number; out [n, m] float32 of any
//          stride, which overlaps neither.
// Launch   one block of 256 for TILE x TILE results: grid (m / TILE, n / TILE), both rounded up.
// Bytes    4 * columns * (n + m) read, once from memory and again for every TILE rows of the other side from the L2 cache; 4 * n * m written.
//          2 * n * m * columns operations, and 2 for every value that is read, for the norms.
// Counted  on the simulated GPU (README.md says how):
//          similarity, 128 x 128 rows of 256: moved 1.00, asked 1.80, conflicts 0 %
//          Asked for beyond moved: each tile of rows, for every tile of the other side.
// Why so   policies rank these numbers and look at their differences: ordinary cores, not tensor cores, whose float32 has ten bits. A thread has
//          4 x 4 results; it reads eight pieces of four columns from shared memory for 64 multiplications, while the next piece of the rows is on its
//          way into registers. Rows lie 36 floats apart, so that neither copies nor reads meet in a bank. Sums run through the columns in ascending
//          order and norms in one of their own: a pair's result depends on its two rows alone.
#include "columns.cuh"

#define TILE 64             // rows of either side
#define DEPTH 32            // columns at a time
#define APART (DEPTH + 4)   // floats from a row to the next in shared memory
#define LANES (DEPTH / 4)   // threads that copy a row
#define SIDE 16             // a thread's results lie so many rows apart
#define MINE (TILE / SIDE)  // results of a thread by either side
#define COPIES (TILE * LANES / (SIDE * SIDE))

// A thread's pieces of the tile's next columns; rows that are not there are zeros, and not read.
__device__ inline void fetch(float4 (&next)[COPIES], const float* rows, int stride, int count, int column, int columns)
{
#pragma unroll
    for (int i = 0; i < COPIES; i++)
    {
        int row = threadIdx.x / LANES + i * (TILE / COPIES);
        next[i] = row < count ? load4(rows + (long long)row * stride, column, columns) : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    }
}

// Puts them where all threads see them, and adds their squares up.
__device__ inline void put(float* tile, const float4 (&next)[COPIES], float (&squares)[COPIES])
{
#pragma unroll
    for (int i = 0; i < COPIES; i++)
    {
        float4 v = next[i];
        *(float4*)(tile + (threadIdx.x / LANES + i * (TILE / COPIES)) * APART + 4 * (threadIdx.x % LANES)) = v;
        squares[i] = fmaf(v.w, v.w, fmaf(v.z, v.z, fmaf(v.y, v.y, fmaf(v.x, v.x, squares[i]))));
    }
}

// The norms of the tile's rows; the threads of a row are neighbours.
__device__ inline void put_norms(float* norms, const float (&squares)[COPIES])
{
#pragma unroll
    for (int i = 0; i < COPIES; i++)
    {
        float sum = squares[i];
        for (int offset = 1; offset < LANES; offset <<= 1)
            sum += __shfl_xor_sync(0xffffffffu, sum, offset);
        if (threadIdx.x % LANES == 0)
            norms[threadIdx.x / LANES + i * (TILE / COPIES)] = sqrtf(sum);
    }
}

extern "C" __global__ void __launch_bounds__(SIDE* SIDE) similarity(
    const float* __restrict__ x, int x_stride, const float* __restrict__ y, int y_stride, float* __restrict__ out, int out_stride, int n, int m,
    int columns, int cosine)
{
    __shared__ __align__(16) float x_tile[TILE * APART];
    __shared__ __align__(16) float y_tile[TILE * APART];
    __shared__ float x_norms[TILE];
    __shared__ float y_norms[TILE];
    int first_x = blockIdx.y * TILE;
    int first_y = blockIdx.x * TILE;
    const float* x_rows = x + (long long)first_x * x_stride;
    const float* y_rows = y + (long long)first_y * y_stride;
    int across = threadIdx.x % SIDE;
    int down = threadIdx.x / SIDE;
    float sums[MINE][MINE] = {};
    float x_squares[COPIES] = {};
    float y_squares[COPIES] = {};
    float4 x_next[COPIES];
    float4 y_next[COPIES];
    int mine = 4 * (threadIdx.x % LANES);
    fetch(x_next, x_rows, x_stride, n - first_x, mine, columns);
    fetch(y_next, y_rows, y_stride, m - first_y, mine, columns);
    for (int column = 0; column < columns; column += DEPTH)
    {
        put(x_tile, x_next, x_squares);
        put(y_tile, y_next, y_squares);
        __syncthreads();

        // Behind the last column, everything is 0 and nothing is read.
        fetch(x_next, x_rows, x_stride, n - first_x, column + DEPTH + mine, columns);
        fetch(y_next, y_rows, y_stride, m - first_y, column + DEPTH + mine, columns);
#pragma unroll
        for (int k = 0; k < DEPTH; k += 4)
        {
            float4 b[MINE];
#pragma unroll
            for (int j = 0; j < MINE; j++)
                b[j] = *(const float4*)(y_tile + (across + j * SIDE) * APART + k);
#pragma unroll
            for (int i = 0; i < MINE; i++)
            {
                float4 a = *(const float4*)(x_tile + (down + i * SIDE) * APART + k);
#pragma unroll
                for (int j = 0; j < MINE; j++)
                    sums[i][j] = fmaf(a.w, b[j].w, fmaf(a.z, b[j].z, fmaf(a.y, b[j].y, fmaf(a.x, b[j].x, sums[i][j]))));
            }
        }

        __syncthreads();
    }

    put_norms(x_norms, x_squares);
    put_norms(y_norms, y_squares);
    __syncthreads();
#pragma unroll
    for (int i = 0; i < MINE; i++)
    {
        int row = down + i * SIDE;
#pragma unroll
        for (int j = 0; j < MINE; j++)
        {
            int other = across + j * SIDE;
            float norms = x_norms[row] * y_norms[other];
            float result = !cosine ? sums[i][j] : norms > 0.0f ? sums[i][j] / norms : 0.0f;
            if (first_x + row < n && first_y + other < m)
                out[(long long)(first_x + row) * out_stride + first_y + other] = result;
        }
    }
}
