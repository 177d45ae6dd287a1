// Choices by score, on the device: which rows stay, in their order.
//
//   select_top:        kept = first + the k places with the highest scores, rest = the others, both ascending; among equal scores the lower
//                      place wins; NaN ranks with minus infinity. margin = lowest score kept - highest not kept, NaN where there is
//                      no such pair or one of the two is infinite on its own side.
//   select_threshold:  kept = the places with score >= least, ascending; count = how many. NaN stays behind.
//
// Shapes   scores [n] float32; kept [k], rest [n - k] int32; margin float32; count int32. rest and margin may be null. 0 <= k <= n;
//          select_top takes n up to MOST = 16384.
// Launch   one block of 1024 threads.
// Bytes    scores once, kept and rest once: 8 a score. select_top keeps the scores in registers and looks at them once for each of
//          four digits (a histogram in shared memory: no more than 256 counters, whole numbers, so that the order of the additions
//          does not show), once for the margin, once to write.
// Counted  on the simulated GPU (README.md says how):
//          select_top, 288 of 2880: moved 1.00, asked 1.20, conflicts 11 %
//          select_threshold, 2880: moved 1.00, asked 1.14, conflicts 0 %
//          Asked for beyond moved: numbers that are written in the order of places, not of lanes. Conflicts: the histogram, as the scores have it.
// Why so   the whole choice is some 16k scores at most: a single block needs no second launch and no word from the host, and finding
//          the k-th score digit by digit, then numbering the survivors by a running sum, sorts nothing. Latency is what it costs: five
//          sweeps over registers and some forty barriers.
#include "scan.cuh"

#define ITEMS 16
#define MOST (ITEMS * SCAN_THREADS)
#define BINS 256

struct top
{
    unsigned key; // the k-th highest
    int need;     // how many that equal it stay
};

// Where the k-th highest lies: one digit of 8 bits after the other, from the top.
__device__ inline top find_top(const unsigned (&keys)[ITEMS], int n, int k, int* bins, int* scratch, int* found)
{
    unsigned prefix = 0;
    for (int shift = 24; shift >= 0; shift -= 8)
    {
        __syncthreads();
        if (threadIdx.x < BINS)
            bins[threadIdx.x] = 0;
        __syncthreads();
#pragma unroll
        for (int i = 0; i < ITEMS; i++)
        {
            bool same = shift == 24 || keys[i] >> (shift + 8) == prefix;
            if (i * SCAN_THREADS + threadIdx.x < n && same)
                atomicAdd(&bins[keys[i] >> shift & (BINS - 1)], 1);
        }

        __syncthreads();
        int digit = BINS - 1 - (int)threadIdx.x;
        int mine = digit >= 0 ? bins[digit] : 0;
        int all;
        int upto = block_scan(mine, scratch, all);
        if (upto >= k && upto - mine < k)
        {
            found[0] = digit;
            found[1] = k - (upto - mine);
        }

        __syncthreads();
        prefix = prefix << 8 | found[0];
        k = found[1];
    }

    return {prefix, k};
}

extern "C" __global__ void __launch_bounds__(SCAN_THREADS, 1) select_top(
    const float* __restrict__ scores, int n, int k, int first, int* __restrict__ kept, int* __restrict__ rest, float* __restrict__ margin)
{
    __shared__ int bins[BINS];
    __shared__ int scratch[SCAN_WARPS];
    __shared__ int found[2];
    __shared__ unsigned next;
    unsigned keys[ITEMS];
#pragma unroll
    for (int i = 0; i < ITEMS; i++)
    {
        int place = i * SCAN_THREADS + threadIdx.x;
        keys[i] = place < n ? ordered(scores[place]) : 0;
    }

    // No score has the highest key of all: with k = 0 nothing reaches it.
    top last = {0xffffffffu, 0};
    if (k > 0)
        last = find_top(keys, n, k, bins, scratch, found);
    if (threadIdx.x == 0)
        next = 0;
    __syncthreads();

    // Survivors above the last score in the low half, those that equal it in the high half: 16384 fits both.
    int before = 0;
#pragma unroll
    for (int i = 0; i < ITEMS; i++)
    {
        int place = i * SCAN_THREADS + threadIdx.x;
        if (i * SCAN_THREADS >= n)
            break;
        bool there = place < n;
        bool above = there && keys[i] > last.key;
        bool equal = there && keys[i] == last.key;
        int all;
        int upto = before + block_scan((above ? 1 : 0) | (equal ? 1 << 16 : 0), scratch, all);
        before += all;
        int equals = (upto >> 16) - (equal ? 1 : 0);
        bool stays = above || (equal && equals < last.need);
        int stayed = (upto & 0xffff) - (above ? 1 : 0) + min(equals, last.need);
        if (stays)
            kept[stayed] = first + place;
        else if (there && rest != nullptr)
            rest[place - stayed] = first + place;
        if (there && !stays)
            atomicMax(&next, keys[i]);
    }

    __syncthreads();
    if (threadIdx.x == 0 && margin != nullptr)
    {
        float lowest = from_ordered(last.key);
        float highest = from_ordered(next);
        bool pair = k > 0 && k < n && lowest < __uint_as_float(0x7f800000u) && highest > __uint_as_float(0xff800000u);
        *margin = pair ? lowest - highest : __uint_as_float(0x7fc00000u);
    }
}

extern "C" __global__ void __launch_bounds__(SCAN_THREADS, 1) select_threshold(
    const float* __restrict__ scores, int n, float least, int* __restrict__ kept, int* __restrict__ count)
{
    __shared__ int scratch[SCAN_WARPS];
    int before = 0;
    for (int start = 0; start < n; start += SCAN_THREADS)
    {
        int place = start + threadIdx.x;
        bool stays = place < n && scores[place] >= least;
        int all;
        int upto = block_scan(stays ? 1 : 0, scratch, all);
        if (stays)
            kept[before + upto - 1] = place;
        before += all;
    }

    if (threadIdx.x == 0)
        *count = before;
}
