// Pictures to patch rows, so that a strided convolution becomes a matrix product.
//
//   patchify:  out[(top / p) * across + left / p][(c * p + y) * p + x] = pixels[c * H + top + y][left + x]
//
// Shapes   pixels [3 * H, across * p] float32, planar, stride pixels_stride, a multiple of 4; out [H / p * across, 3 * p * p] ELEMENT,
//          stride a multiple of 8 (of 4 for float32). p any number.
// Launch   one block of 256 for PATCHES neighbours: grid (across / PATCHES rounded up, H / p); dynamic shared memory
//          PATCHES * (3 * p * p + pad) elements, pad = (p - 3 * p * p) modulo 128 bytes.
// Bytes    4 read, sizeof(ELEMENT) written a value.
// Counted  on the simulated GPU (README.md says how):
//          patchify, 336 x 336, patches of 14: moved 1.00, asked 1.00, conflicts 0 %
// Why so   a patch's row of p pixels ends within a sector; eight neighbours' rows are whole sectors. So they are read together,
//          and each patch is written as one piece from shared memory. There patches lie apart by p more than a multiple of all banks,
//          so that neighbours of a line of pixels are in neighbouring banks, whichever patches they belong to.
// Tried    patches without room between: with p = 14 the end of one and the beginning of the next meet in a bank (36 % of the passes).
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
    int apart = columns + ((p - columns) & (int)(128 / sizeof(element) - 1));
    for (int place = threadIdx.x; place < 3 * p * width; place += 256)
    {
        int line = place / width;
        int at = place % width;
        int y = (line / p) * height + blockIdx.y * p + line % p;
        held[(at / p) * apart + line * p + at % p] = narrow(pixels[(long long)y * pixels_stride + first * p + at]);
    }
    __syncthreads();
    element* rows = out + ((long long)blockIdx.y * across + first) * out_stride;
    for (int patch = 0; patch < patches; patch++)
    {
        for (int column = threadIdx.x; column < columns; column += 256)
            rows[(long long)patch * out_stride + column] = held[patch * apart + column];
    }
}
