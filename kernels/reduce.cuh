// Sums over a block of up to 1024 threads: within warps by shuffles, between them through 32 floats of shared memory.
#pragma once

__device__ inline float warp_sum(float x)
{
    for (int offset = 16; offset > 0; offset >>= 1)
        x += __shfl_xor_sync(0xffffffffu, x, offset);
    return x;
}

// Every thread gets the sum. All threads of the block must call it; scratch is shared memory of 32 floats that nobody else uses.
__device__ inline float block_sum(float x, float* scratch)
{
    x = warp_sum(x);
    int warp = threadIdx.x >> 5;
    int lane = threadIdx.x & 31;
    __syncthreads();
    if (lane == 0)
        scratch[warp] = x;
    __syncthreads();
    int warps = (blockDim.x + 31) >> 5;
    return warp_sum(lane < warps ? scratch[lane] : 0.0f);
}
