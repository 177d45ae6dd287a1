// Pictures to patch rows, so that a strided convolution becomes a matrix product.
//
//   patchify:  out[(top / p) * across + left / p][(c * p + y) * p + x] = pixels[c * H + top + y][left + x]
//
// Shapes   pixels [3 * H, across * p] float32, planar, stride pixels_stride, a multiple of 4; out [H / p * across, 3 * p * p] ELEMENT,
//          stride a multiple of 8 (of 4 for float32). p any number.
// Launch   one block of 256 for PATCHES neighbours: grid (across / PATCHES rounded up, H / p); dynamic shared memory
//          PATCHES * 3 * p * p elements.
// Bytes    4 read, sizeof(ELEMENT) written a value.
// Why so   a patch's row of p pixels ends within a sector; eight neighbours' rows are whole sectors. So they are read together,
//          and each patch is written as one piece from shared memory.
#include "columns.cuh"

#define PATCHES 8

extern "C" __global__ void __launch_bounds__(256) patchify(
    const float* __restrict__ pixels, int pixels_stride, int height, int across, int p, element* __restrict__ out, int out_stride)
{
    extern __shared__ __align__(16) element held[];
    int first = blockIdx.x * PATCHES;
    int patches = min(PATCHES, across - first);
    int width = patches * p;
    int columns = 3 * p * p;
    for (int place = threadIdx.x; place < 3 * p * width; place += 256)
    {
        int line = place / width;
        int at = place % width;
        int y = (line / p) * height + blockIdx.y * p + line % p;
        held[(at / p) * columns + line * p + at % p] = narrow(pixels[(long long)y * pixels_stride + first * p + at]);
    }
    __syncthreads();
    element* rows = out + ((long long)blockIdx.y * across + first) * out_stride;
    for (int patch = 0; patch < patches; patch++)
    {
        for (int column = threadIdx.x; column < columns; column += 256)
            rows[(long long)patch * out_stride + column] = held[patch * columns + column];
    }
}
