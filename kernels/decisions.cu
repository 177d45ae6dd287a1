// What follows from a choice that the device has made, so that the host need not know it (contract P2), and counters that live
// in device memory.
//
//   increment:     counts[i] += 1
//   resolve_rows:  out[i] = template[i] where it is not negative, else rows[places[-1 - template[i]]]
//   score_share:   out[i] = sum of scores[places] / sum of scores, the same in every element
//
// Shapes   all int32 or float32, contiguous: counts [n]; template, out [n]; scores [n], places [k], out [m].
// Launch   increment, resolve_rows: blocks of 256 over n. score_share: one block of 256.
// Bytes    a few numbers a row: launches are what these cost.
// Counted  on the simulated GPU (README.md says how):
//          increment, 32 counters: moved 1.00, asked 1.00, conflicts 0 %
//          resolve_rows, 640 rows, 64 of them chosen: moved 1.00, asked 1.00, conflicts 0 %
//          score_share, 64 of 576: moved 1.00, asked 1.78, conflicts 0 %
//          Asked for beyond moved: scores that lie scattered.
// Why so   sums in float64 and in an order that only the block's size decides: the share must not depend on the run.

extern "C" __global__ void __launch_bounds__(256) increment(int* counts, int n)
{
    int i = blockIdx.x * 256 + threadIdx.x;
    if (i < n)
        counts[i]++;
}

extern "C" __global__ void __launch_bounds__(256) resolve_rows(
    const int* __restrict__ row_template, const int* __restrict__ places, const int* __restrict__ rows, int* __restrict__ out, int n)
{
    int i = blockIdx.x * 256 + threadIdx.x;
    if (i >= n)
        return;
    int row = row_template[i];
    out[i] = row >= 0 ? row : rows[places[-1 - row]];
}

__device__ inline double warp_sum_double(double x)
{
    for (int offset = 16; offset > 0; offset >>= 1)
        x += __shfl_xor_sync(0xffffffffu, x, offset);
    return x;
}

extern "C" __global__ void __launch_bounds__(256) score_share(
    const float* __restrict__ scores, int n, const int* __restrict__ places, int k, float* __restrict__ out, int m)
{
    __shared__ double held_of[32];
    __shared__ double all_of[32];
    double held = 0.0;
    double all = 0.0;
    for (int i = threadIdx.x; i < n; i += 256)
        all += scores[i];
    for (int i = threadIdx.x; i < k; i += 256)
        held += scores[places[i]];
    held = warp_sum_double(held);
    all = warp_sum_double(all);
    int warp = threadIdx.x >> 5;
    int lane = threadIdx.x & 31;
    if (lane == 0)
    {
        held_of[warp] = held;
        all_of[warp] = all;
    }

    __syncthreads();
    held = warp_sum_double(lane < 8 ? held_of[lane] : 0.0);
    all = warp_sum_double(lane < 8 ? all_of[lane] : 0.0);
    for (int i = threadIdx.x; i < m; i += 256)
        out[i] = (float)(held / all);
}
