// The splits of decode_attention.cu become one row of attention.
//
//   out = sum of 2^(m_s - M) * a_s / sum of 2^(m_s - M) * l_s,   M = max of m_s;   0 where no split has a key
//
// Shapes   partials [heads, splits, head_dim + 2] float32: a, m, l; a is there only where l is not 0. out [heads, head_dim] ELEMENT.
// Launch   one block of THREADS a head.
// Bytes    4 * (head_dim + 2) a split and head, from the second level of cache as a rule; sizeof(ELEMENT) * head_dim a head.
// Counted  on the simulated GPU (README.md says how):
//          decode_combine, 10 splits, 8 heads of 128: moved 1.00, asked 1.87, conflicts 0 %
//          Asked for beyond moved: m and l of every split, by each warp.
// Why so   the splits are few; their order is fixed, so that the sums are the same on every run.
#include "types.cuh"

#ifndef THREADS
#define THREADS 128
#endif

#define MINUS_INFINITY __int_as_float(0xff800000)

extern "C" __global__ void __launch_bounds__(THREADS) decode_combine(
    const float* __restrict__ partials, int splits, int head_dim, element* __restrict__ out)
{
    int stride = head_dim + 2;
    const float* rows = partials + (long long)blockIdx.x * splits * stride;
    float maximum = MINUS_INFINITY;
    for (int s = 0; s < splits; s++)
        maximum = fmaxf(maximum, rows[s * stride + head_dim]);
    for (int d = threadIdx.x; d < head_dim; d += THREADS)
    {
        float sum = 0.0f;
        float total = 0.0f;
        for (int s = 0; s < splits; s++)
        {
            const float* row = rows + s * stride;
            if (row[head_dim + 1] == 0.0f)
                continue;
            float weight = power_of_two(row[head_dim] - maximum);
            sum = fmaf(weight, row[head_dim + 1], sum);
            total = fmaf(weight, row[d], total);
        }

        out[blockIdx.x * head_dim + d] = narrow(sum == 0.0f ? 0.0f : total / sum);
    }
}
