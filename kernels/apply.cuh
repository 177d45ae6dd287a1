// Activation functions, chosen at compile time by FUNCTION: -1 none, else the number of `Activation` in the engine:
// 0 silu, 1 gelu (erf), 2 gelu (tanh), 3 quick-gelu, 4 relu.
#pragma once

#ifndef FUNCTION
#define FUNCTION -1
#endif

__device__ inline float apply(float x)
{
#if FUNCTION == 0
    return x / (1.0f + expf(-x));
#elif FUNCTION == 3
    return x / (1.0f + expf(-1.702f * x));
#elif FUNCTION == 1
    return 0.5f * x * (1.0f + erff(x * 0.70710678118654752f));
#elif FUNCTION == 2
    return 0.5f * x * (1.0f + tanhf(0.79788456080286536f * (x + 0.044715f * x * x * x)));
#elif FUNCTION == 4
    return fmaxf(x, 0.0f);
#else
    return x;
#endif
}

__device__ inline float4 apply4(float4 v) { return make_float4(apply(v.x), apply(v.y), apply(v.z), apply(v.w)); }
