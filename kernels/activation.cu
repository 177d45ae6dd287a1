// Activations, element by element, and the gated MLP (arXiv 2002.05202).
//
//   activate:        x = f(x)                  gated_activate:  out = f(gate) * up
//   f: 0 silu, 1 quick-gelu, 2 gelu (erf), 3 gelu (tanh), 4 relu; FUNCTION at compile time.
//
// Shapes   n elements, a multiple of 4: gate, up, x float32 contiguous; out ELEMENT.
// Launch   blocks of 256 over n / 4.
// Bytes    gated_activate: 8 read, sizeof(ELEMENT) written a value; activate: 4 read, sizeof(ELEMENT) written.
#include "types.cuh"

#ifndef FUNCTION
#define FUNCTION 0
#endif

__device__ inline float apply(float x)
{
#if FUNCTION == 0
    return x / (1.0f + expf(-x));
#elif FUNCTION == 1
    return x / (1.0f + expf(-1.702f * x));
#elif FUNCTION == 2
    return 0.5f * x * (1.0f + erff(x * 0.70710678118654752f));
#elif FUNCTION == 3
    return 0.5f * x * (1.0f + tanhf(0.79788456080286536f * (x + 0.044715f * x * x * x)));
#else
    return fmaxf(x, 0.0f);
#endif
}

extern "C" __global__ void __launch_bounds__(256) activate(const float* __restrict__ x, element* __restrict__ out, int n)
{
    int place = blockIdx.x * 256 + threadIdx.x;
    if (4 * place >= n)
        return;
    float4 v = ((const float4*)x)[place];
    element4 z;
    z.x = narrow(apply(v.x));
    z.y = narrow(apply(v.y));
    z.z = narrow(apply(v.z));
    z.w = narrow(apply(v.w));
    ((element4*)out)[place] = z;
}

extern "C" __global__ void __launch_bounds__(256) gated_activate(
    const float* __restrict__ gate, const float* __restrict__ up, element* __restrict__ out, int n)
{
    int place = blockIdx.x * 256 + threadIdx.x;
    if (4 * place >= n)
        return;
    float4 g = ((const float4*)gate)[place];
    float4 u = ((const float4*)up)[place];
    element4 z;
    z.x = narrow(apply(g.x) * u.x);
    z.y = narrow(apply(g.y) * u.y);
    z.z = narrow(apply(g.z) * u.z);
    z.w = narrow(apply(g.w) * u.w);
    ((element4*)out)[place] = z;
}
