// The element type of matrix inputs (contract D6): the file is compiled once for each, with ELEMENT defined.
#pragma once
#include "ptx.cuh"

#define ELEMENT_F32 0
#define ELEMENT_BF16 1
#define ELEMENT_F16 2

#ifndef ELEMENT
#define ELEMENT ELEMENT_BF16
#endif

#if ELEMENT == ELEMENT_F32
typedef float element;
__device__ inline float widen(element x) { return x; }
__device__ inline element narrow(float x) { return x; }
#elif ELEMENT == ELEMENT_BF16
typedef bits16 element;
__device__ inline float widen(element x) { return bf16_to_float(x); }
__device__ inline element narrow(float x) { return float_to_bf16(x); }
#else
typedef bits16 element;
__device__ inline float widen(element x) { return f16_to_float(x); }
__device__ inline element narrow(float x) { return float_to_f16(x); }
#endif

// Four neighbours, moved at once: 16 bytes of float32, 8 of the 16-bit types.
struct __align__(4 * sizeof(element)) element4
{
    element x, y, z, w;
};
