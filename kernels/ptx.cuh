// The only file with inline PTX (contract G6): conversions between float32 and the 16-bit types, which NVRTC without the CUDA
// headers does not know by name; copies that run beside the arithmetic; tensor cores. A 16-bit value travels as its bits.
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

// Two at once: a in the lower half.
__device__ inline bits32 floats_to_bf16(float a, float b)
{
    bits32 y;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(b), "f"(a));
    return y;
}

__device__ inline bits32 floats_to_f16(float a, float b)
{
    bits32 y;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(b), "f"(a));
    return y;
}

// 2^x by the special function unit: at most 2 units in the last place off; 1 for 0, 0 for -inf; results below 2^-126 are 0.
__device__ inline float power_of_two(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// Asynchronous copies into shared memory.

__device__ inline bits32 shared_address(const void* place) { return (bits32)__cvta_generic_to_shared(place); }

// 16 bytes of shared memory from global memory: the first `bytes` of them are read, the rest becomes zero. Both ends are
// 16-byte aligned. Past the first level of cache.
__device__ inline void copy_async(bits32 to, const void* from, int bytes)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes) : "memory");
}

// Ends a group of the thread's copies.
__device__ inline void copy_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits until at most GROUPS of the thread's latest groups are still under way.
template <int GROUPS>
__device__ inline void copy_wait()
{
    asm volatile("cp.async.wait_group %0;" ::"n"(GROUPS) : "memory");
}

// Tensor cores. With g = lane / 4 and t = lane % 4 a lane holds, two neighbours a register (16x16 of the left matrix by rows,
// 16x8 of the right one by columns, 16x8 of the sums):
//   a[0] (g, 2t)  a[1] (g + 8, 2t)  a[2] (g, 2t + 8)  a[3] (g + 8, 2t + 8)    b[0] (2t, g)  b[1] (2t + 8, g)
//   d[0], d[1] (g, 2t), (g, 2t + 1)    d[2], d[3] (g + 8, 2t), (g + 8, 2t + 1)

// Four 8x8 matrices of 16-bit elements; lanes 8n to 8n + 7 give the addresses of the rows of matrix n, 16 bytes each.
__device__ inline void load_matrices(bits32 (&r)[4], bits32 address)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
}

// The same, each matrix transposed on the way: a lane gets two neighbours of a column.
__device__ inline void load_matrices_transposed(bits32 (&r)[4], bits32 address)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
}

// d += a * b in float32.
__device__ inline void multiply_bf16(float (&d)[4], const bits32 (&a)[4], bits32 b0, bits32 b1)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

__device__ inline void multiply_f16(float (&d)[4], const bits32 (&a)[4], bits32 b0, bits32 b1)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
