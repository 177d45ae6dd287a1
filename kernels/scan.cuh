// Running sums over a block of 1024 threads, in whole numbers, which come out the same whatever the order.
#pragma once

#define SCAN_THREADS 1024
#define SCAN_WARPS (SCAN_THREADS / 32)

template <typename T>
__device__ inline T warp_scan(T x)
{
    int lane = threadIdx.x & 31;
#pragma unroll
    for (int offset = 1; offset < 32; offset <<= 1)
    {
        T before = __shfl_up_sync(0xffffffffu, x, offset);
        x += lane >= offset ? before : T(0);
    }

    return x;
}

// The sum over this thread and those before it; total is that of all. Every thread of the block calls it; scratch is shared memory
// of SCAN_WARPS values that nobody else uses.
template <typename T>
__device__ inline T block_scan(T x, T* scratch, T& total)
{
    int warp = threadIdx.x >> 5;
    int lane = threadIdx.x & 31;
    T sum = warp_scan(x);
    __syncthreads();
    if (lane == 31)
        scratch[warp] = sum;
    __syncthreads();
    T warps = warp_scan(scratch[lane]);
    total = __shfl_sync(0xffffffffu, warps, 31);
    T before = __shfl_sync(0xffffffffu, warps, (warp + 31) & 31);
    return warp == 0 ? sum : sum + before;
}

// A float32 as a whole number of the same order; both zeros are one, and what is no number ranks with minus infinity.
__device__ inline unsigned ordered(float x)
{
    x = x != x ? __uint_as_float(0xff800000u) : x == 0.0f ? 0.0f : x;
    unsigned bits = __float_as_uint(x);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

__device__ inline float from_ordered(unsigned key) { return __uint_as_float(key & 0x80000000u ? key & 0x7fffffffu : ~key); }
