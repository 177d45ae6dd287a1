// The only file with inline PTX (contract G6): conversions between float32 and the 16-bit types, which NVRTC without the CUDA
// headers does not know by name. A 16-bit value travels as its bits.
#pragma once

typedef unsigned short bits16;
typedef unsigned int bits32;

__device__ inline float bf16_to_float(bits16 x) { return __uint_as_float((bits32)x << 16); }

__device__ inline float f16_to_float(bits16 x)
{
    float y;
    asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x));
    return y;
}

__device__ inline bits16 float_to_bf16(float x)
{
    bits16 y;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y) : "f"(x));
    return y;
}

__device__ inline bits16 float_to_f16(float x)
{
    bits16 y;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y) : "f"(x));
    return y;
}
