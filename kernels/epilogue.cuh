// What a matrix product does with its sums: out (+)= f(sum + bias), f by FUNCTION (apply.cuh), out float32 (OUTPUT 0) or ELEMENT
// (OUTPUT 1). Only float32 is added to.
#pragma once
#include "apply.cuh"
#include "columns.cuh"

#ifndef OUTPUT
#define OUTPUT 0
#endif

#if OUTPUT == 0
typedef float output;
#else
typedef element output;
#endif

// Four neighbouring columns of a row, from column on, a multiple of 4; bias is of the whole row, or null.
__device__ inline void finish4(float4 sum, const float* bias, output* row, int column, int columns, int accumulate)
{
    // Sums of nothing but zeros may be -0 or 0, by how many zeros there were: 0 then.
    float4 v = make_float4(sum.x + 0.0f, sum.y + 0.0f, sum.z + 0.0f, sum.w + 0.0f);
    if (bias)
    {
        float4 b = load4(bias, column, columns);
        v = make_float4(v.x + b.x, v.y + b.y, v.z + b.z, v.w + b.w);
    }
    v = apply4(v);
#if OUTPUT == 0
    if (accumulate)
    {
        float4 old = load4(row, column, columns);
        v = make_float4(old.x + v.x, old.y + v.y, old.z + v.z, old.w + v.w);
    }
#endif
    store4(row, column, columns, v);
}
