// The next token, chosen on the device, so that a decode step needs no word from the host.
//
//   sample_greedy:  the token with the largest logit, the lower id among equals.
//   sample:         repetition penalty, temperature, top-k, top-p, min-p, in this order, each on what the one before left; then one
//                   draw of a seeded generator (SplitMix64). What is no number is never chosen.
//
//   weight(i) = floor(2^40 * exp((logit(i) - largest) * (1 / temperature))), a whole number
//   chosen    = the first id at which the running sum of the weights that are left exceeds floor(random * sum / 2^64)
//
// Weights are whole numbers because their sums are exact in every order: the choice is that of the CPU (Generation/Sampler.cs), id for
// id. The exponential is a polynomial of float32 operations that both sides round alike.
//
// Shapes   logits [vocabulary] float32, 16-byte aligned, vocabulary up to 2^18 (sums of weights stay below 2^59); seen: a bit for each token, null for no
//          penalty; stop_ids [stop_count] int32; state: see sample_state; token: one int32, the next step's input; output [capacity] int32.
// Writes   output[produced++] = the choice, or -1 where no logit is a number; token = the choice (0 for -1); the choice's bit in seen;
//          the generator, where a draw was made; state.stop. A state that says stop is left as it is: steps that were queued beyond
//          the end change nothing.
// Launch   one block of 1024 threads.
// Bytes    logits once for sample_greedy; up to twelve times for sample (once from memory, then from the L2 cache): largest; sum and count; three
//          digits each for top-k and top-p, and a sum between; the draw.
// Counted  on the simulated GPU (README.md says how):
//          sample_greedy, 32000 tokens: moved 1.00, asked 1.01, conflicts 0 %
//          sample, 32000 tokens, top-k and top-p: moved 1.00, asked 10.03, conflicts 47 %
//          Asked for beyond moved: the sweeps after the first, from the L2 cache. Conflicts: histograms, as the logits have it.
// Why so   nothing is sorted and no scratch memory is needed: where top-k or top-p ends is found digit by digit in a histogram, by
//          weight, whose 30 bits (as float32, which holds weights exactly) spread evenly; a tie at the end goes to the lower ids.
//          One block is meant to take some microseconds a sweep (not measured).
// Tried    bounds of 1024 threads without "1 block": NVRTC 11.8 then aims at two blocks, 32 registers, and spills on sm_90.
#include "scan.cuh"

#define BINS 1024
#define DIGIT 10
#define NO_NUMBER (-1)
#define EVERYTHING 0x7fffffff

typedef unsigned long long wide;

struct sample_state
{
    wide generator;
    int produced; // ids in output
    int stop;     // 0 goes on, 1 an end-of-sequence id, 2 no logit is a number, 3 the output is full
    int saw_nan;  // 1 once a logit was no number
    int unused;
};

struct choice
{
    const float* logits;
    const unsigned* seen;
    float penalty;
    float inverse; // 1 / temperature
    float largest;
    int vocabulary;
};

struct shared_space
{
    wide bins[BINS];
    wide scratch[SCAN_WARPS];
    wide sums[SCAN_WARPS];
    int equals[SCAN_WARPS];
    wide value;
    int number;
    int nan;
    int id;
};

__device__ inline float logit_of(const choice& c, int id)
{
    float logit = c.logits[id];
    if (c.seen != nullptr && (c.seen[id >> 5] >> (id & 31) & 1))
        logit = logit > 0.0f ? __fdiv_rn(logit, c.penalty) : __fmul_rn(logit, c.penalty);
    return logit;
}

// 2^40 exp(x) for x <= 0: e^x = 2^n e^r with |r| <= ln 2 / 2, e^r by its series to r^7, whose 24 bits are then moved into place.
__device__ inline wide weight_of(float x)
{
    if (!(x > -30.0f))
        return 0;
    float n = rintf(__fmul_rn(x, 1.44269504f));
    float r = __fmaf_rn(n, -0.693359375f, x);
    r = __fmaf_rn(n, 2.12194440e-4f, r);
    float y = 1.0f / 5040.0f;
    y = __fmaf_rn(y, r, 1.0f / 720.0f);
    y = __fmaf_rn(y, r, 1.0f / 120.0f);
    y = __fmaf_rn(y, r, 1.0f / 24.0f);
    y = __fmaf_rn(y, r, 1.0f / 6.0f);
    y = __fmaf_rn(y, r, 0.5f);
    y = __fmaf_rn(y, r, 1.0f);
    y = __fmaf_rn(y, r, 1.0f);
    return (wide)(unsigned)__fmul_rn(y, 16777216.0f) << 16 >> (int)-n;
}

__device__ inline wide weight_at(const choice& c, int id) { return weight_of(__fmul_rn(__fsub_rn(logit_of(c, id), c.largest), c.inverse)); }

// A weight's place in the order of weights, below 2^30; 0 for none. A weight has 24 bits at most, so float32 holds it.
__device__ inline unsigned key_of(wide weight) { return weight == 0 ? 0 : __float_as_uint((float)weight) - 0x3f800000u + 1; }

__device__ inline wide weight_of_key(unsigned key) { return (wide)__uint_as_float(key - 1 + 0x3f800000u); }

__device__ inline wide block_total(wide x, shared_space& s)
{
    wide total;
    block_scan(x, s.scratch, total);
    return total;
}

// The largest logit's order in the high half, the lower id first in the low half; 0 where none is a number.
__device__ inline wide find_largest(const choice& c, shared_space& s)
{
    if (threadIdx.x == 0)
        s.nan = 0;
    __syncthreads();
    wide best = 0;
#pragma unroll 1
    for (int id = threadIdx.x; id < c.vocabulary; id += SCAN_THREADS)
    {
        float logit = logit_of(c, id);
        if (logit != logit)
            s.nan = 1;
        else
            best = max(best, (wide)ordered(logit) << 32 | (0xffffffffu - (unsigned)id));
    }

    for (int offset = 16; offset > 0; offset >>= 1)
        best = max(best, __shfl_xor_sync(0xffffffffu, best, offset));
    if ((threadIdx.x & 31) == 0)
        s.scratch[threadIdx.x >> 5] = best;
    __syncthreads();
    best = s.scratch[threadIdx.x & 31];
    for (int offset = 16; offset > 0; offset >>= 1)
        best = max(best, __shfl_xor_sync(0xffffffffu, best, offset));
    return best;
}

// Tokens in the order of their weights, downwards: up to and with the first `need` (by id) of those with this key.
struct cut
{
    unsigned key;
    int need;
};

// Where the count (or the sum of the weights) of the tokens, taken by weight downwards, reaches target; it does reach it.
template <bool SUM>
__device__ inline cut find_cut(const choice& c, wide target, shared_space& s)
{
    unsigned prefix = 0;
#pragma unroll 1
    for (int shift = 2 * DIGIT; shift >= 0; shift -= DIGIT)
    {
        s.bins[threadIdx.x] = 0;
        __syncthreads();
#pragma unroll 1
        for (int id = threadIdx.x; id < c.vocabulary; id += SCAN_THREADS)
        {
            wide weight = weight_at(c, id);
            unsigned key = key_of(weight);
            if (key != 0 && key >> (shift + DIGIT) == prefix)
                atomicAdd(&s.bins[key >> shift & (BINS - 1)], SUM ? weight : 1);
        }

        __syncthreads();
        int digit = BINS - 1 - threadIdx.x;
        wide mine = s.bins[digit];
        wide all;
        wide upto = block_scan(mine, s.scratch, all);
        if (upto >= target && upto - mine < target)
        {
            s.number = digit;
            s.value = target - (upto - mine);
        }

        __syncthreads();
        prefix = prefix << DIGIT | s.number;
        target = s.value;
    }

    wide unit = SUM ? weight_of_key(prefix) : 1;
    return {prefix, (int)((target + unit - 1) / unit)};
}

// The sum of the weights down to a cut.
__device__ inline wide sum_to(const choice& c, cut end, shared_space& s)
{
    wide sum = 0;
#pragma unroll 1
    for (int id = threadIdx.x; id < c.vocabulary; id += SCAN_THREADS)
    {
        wide weight = weight_at(c, id);
        sum += key_of(weight) > end.key ? weight : 0;
    }

    return block_total(sum, s) + (wide)end.need * weight_of_key(end.key);
}

__device__ inline wide next_random(wide& generator)
{
    generator += 0x9E3779B97F4A7C15ull;
    wide z = generator;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ z >> 27) * 0x94D049BB133111EBull;
    return z ^ z >> 31;
}

// One draw among the tokens down to the cut that weigh at least `least`, in the order of their ids. A warp has a stretch of ids; the one
// that the draw falls to looks closer.
__device__ inline int draw(const choice& c, cut end, wide least, sample_state* state, shared_space& s)
{
    int warp = threadIdx.x >> 5;
    int lane = threadIdx.x & 31;
    int stretch = (c.vocabulary + SCAN_THREADS - 1) / SCAN_THREADS * 32;
    int first = warp * stretch;
    int behind = min(first + stretch, c.vocabulary);
    wide sum = 0;
    int equals = 0;
#pragma unroll 1
    for (int id = first + lane; id < behind; id += 32)
    {
        wide weight = weight_at(c, id);
        unsigned key = key_of(weight);
        bool enough = weight >= least;
        sum += enough && key > end.key ? weight : 0;
        equals += enough && key == end.key ? 1 : 0;
    }

    sum = warp_scan(sum);
    equals = warp_scan(equals);
    if (lane == 31)
    {
        s.sums[warp] = sum;
        s.equals[warp] = equals;
    }

    __syncthreads();
    if (threadIdx.x == 0)
    {
        wide unit = weight_of_key(end.key);
        wide total = 0;
        int need = end.need;
#pragma unroll 1
        for (int w = 0; w < SCAN_WARPS; w++)
        {
            int taken = min(s.equals[w], need);
            s.sums[w] += taken * unit;
            total += s.sums[w];
            s.equals[w] = need;
            need -= taken;
        }

        wide generator = state->generator;
        wide point = __umul64hi(next_random(generator), total);
        state->generator = generator;
        int w = 0;
        while (point >= s.sums[w])
            point -= s.sums[w++];
        s.number = w;
        s.value = point;
    }

    __syncthreads();
    if (warp == s.number)
    {
        wide point = s.value;
        int need = s.equals[warp];
#pragma unroll 1
        for (int start = first; start < behind; start += 32)
        {
            int id = start + lane;
            wide weight = id < behind ? weight_at(c, id) : 0;
            unsigned key = key_of(weight);
            bool enough = weight >= least && weight > 0;
            unsigned same = __ballot_sync(0xffffffffu, enough && key == end.key);
            bool stays = enough && (key > end.key || (key == end.key && __popc(same & ((1u << lane) - 1)) < need));
            wide upto = warp_scan(stays ? weight : 0);
            unsigned hit = __ballot_sync(0xffffffffu, upto > point);
            if (hit != 0)
            {
                if (lane == __ffs(hit) - 1)
                    s.id = id;
                break;
            }

            point -= __shfl_sync(0xffffffffu, upto, 31);
            need -= min(need, __popc(same));
        }
    }

    __syncthreads();
    return s.id;
}

// By one thread.
__device__ inline void finish(
    int chosen, int nan, unsigned* seen, const int* stop_ids, int stop_count, sample_state* state, int* token, int* output, int capacity)
{
    int produced = state->produced;
    int stop = chosen == NO_NUMBER ? 2 : 0;
#pragma unroll 1
    for (int i = 0; i < stop_count; i++)
        stop = chosen == stop_ids[i] ? 1 : stop;
    if (produced < capacity)
        output[produced++] = chosen;
    if (stop == 0 && produced >= capacity)
        stop = 3;
    state->produced = produced;
    state->stop = stop;
    if (nan)
        state->saw_nan = 1;
    *token = max(chosen, 0);
    if (seen != nullptr && chosen >= 0)
        seen[chosen >> 5] |= 1u << (chosen & 31);
}

extern "C" __global__ void __launch_bounds__(SCAN_THREADS, 1) sample_greedy(
    const float* __restrict__ logits, int vocabulary, unsigned* seen, float penalty, const int* __restrict__ stop_ids, int stop_count,
    sample_state* state, int* token, int* output, int capacity)
{
    __shared__ shared_space s;
    if (state->stop != 0)
        return;
    choice c = {logits, seen, penalty, 0.0f, 0.0f, vocabulary};
    wide best = find_largest(c, s);
    if (threadIdx.x == 0)
        finish(best == 0 ? NO_NUMBER : (int)(0xffffffffu - (unsigned)best), s.nan, seen, stop_ids, stop_count, state, token, output, capacity);
}

// inverse: 1 / temperature, finite. top_k: 0 for all. top_p: the share times 2^64, 0 for all. least: the min-p times 2^40, rounded up.
extern "C" __global__ void __launch_bounds__(SCAN_THREADS, 1) sample(
    const float* __restrict__ logits, int vocabulary, unsigned* seen, float penalty, float inverse, int top_k, wide top_p, wide least,
    const int* __restrict__ stop_ids, int stop_count, sample_state* state, int* token, int* output, int capacity)
{
    __shared__ shared_space s;
    if (state->stop != 0)
        return;
    choice c = {logits, seen, penalty, inverse, 0.0f, vocabulary};
    wide best = find_largest(c, s);
    c.largest = from_ordered((unsigned)(best >> 32));
    int chosen = best == 0 ? NO_NUMBER : (int)(0xffffffffu - (unsigned)best);

    // Beside an infinite logit nothing else has a weight; where all are minus infinity, nothing has.
    if (best != 0 && fabsf(c.largest) < __uint_as_float(0x7f800000u))
    {
        cut end = {1, EVERYTHING};
        wide total = 0;
        if (top_k > 0 || top_p > 0)
        {
            wide sum = 0;
            wide count = 0;
#pragma unroll 1
            for (int id = threadIdx.x; id < vocabulary; id += SCAN_THREADS)
            {
                wide weight = weight_at(c, id);
                sum += weight;
                count += weight > 0 ? 1 : 0;
            }

            total = block_total(sum, s);
            count = block_total(count, s);
            if (top_k > 0 && top_k < count)
            {
                end = find_cut<false>(c, top_k, s);
                total = top_p > 0 ? sum_to(c, end, s) : 0;
            }
        }

        if (top_p > 0)
            end = find_cut<true>(c, __umul64hi(total, top_p) + 1, s);
        chosen = draw(c, end, least, state, s);
    }

    if (threadIdx.x == 0)
        finish(chosen, s.nan, seen, stop_ids, stop_count, state, token, output, capacity);
}
