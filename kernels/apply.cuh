// Activation functions, chosen at compile time by FUNCTION: -1 none, 0 silu, 1 quick-gelu, 2 gelu (erf), 3 gelu (tanh), 4 relu.
#pragma once

#ifndef FUNCTION
#define FUNCTION -1
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
#elif FUNCTION == 4
    return fmaxf(x, 0.0f);
#else
    return x;
#endif
}

__device__ inline float4 apply4(float4 v) { return make_float4(apply(v.x), apply(v.y), apply(v.z), apply(v.w)); }
