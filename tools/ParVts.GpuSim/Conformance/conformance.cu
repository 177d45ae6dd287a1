// What the hardware does with single instructions (contract G3): every lane writes its registers as they are, so that a GPU's answers
// can be held against the simulator's word by word. One block of 32 threads; `in` and `out` are 32-bit words.
typedef unsigned int bits32;
typedef unsigned short bits16;

// out[i] = f(in[i]), as floats.
#define UNARY(NAME, INSTRUCTION) \
extern "C" __global__ void NAME(const bits32* in, bits32* out, int n) \
{ \
    for (int i = threadIdx.x; i < n; i += 32) { \
        float y; \
        asm volatile(INSTRUCTION " %0, %1;" : "=f"(y) : "f"(__uint_as_float(in[i]))); \
        out[i] = __float_as_uint(y); \
    } \
}
UNARY(ex2_ftz, "ex2.approx.ftz.f32")
UNARY(ex2, "ex2.approx.f32")
UNARY(reciprocal, "rcp.rn.f32")
UNARY(root, "sqrt.rn.f32")

// The bits of a float as a 16-bit one, and the way back.
#define NARROW(NAME, INSTRUCTION) \
extern "C" __global__ void NAME(const bits32* in, bits32* out, int n) \
{ \
    for (int i = threadIdx.x; i < n; i += 32) { \
        bits16 y; \
        asm volatile(INSTRUCTION " %0, %1;" : "=h"(y) : "f"(__uint_as_float(in[i]))); \
        out[i] = y; \
    } \
}
NARROW(to_bf16, "cvt.rn.bf16.f32")
NARROW(to_f16, "cvt.rn.f16.f32")

extern "C" __global__ void from_f16(const bits32* in, bits32* out, int n)
{
    for (int i = threadIdx.x; i < n; i += 32) {
        float y;
        asm volatile("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"((bits16)in[i]));
        out[i] = __float_as_uint(y);
    }
}

// Two floats to a pair: the first operand goes to the upper half.
#define PAIRS(NAME, INSTRUCTION) \
extern "C" __global__ void NAME(const bits32* in, bits32* out, int n) \
{ \
    for (int i = threadIdx.x; i < n / 2; i += 32) \
        asm volatile(INSTRUCTION " %0, %1, %2;" : "=r"(out[i]) : "f"(__uint_as_float(in[2 * i])), "f"(__uint_as_float(in[2 * i + 1]))); \
}
PAIRS(to_bf16_pairs, "cvt.rn.bf16x2.f32")
PAIRS(to_f16_pairs, "cvt.rn.f16x2.f32")

// ldmatrix of a tile of 32 rows of 8 elements; lane l gives the address of row (5 * l) % 32.
#define LOAD(NAME, INSTRUCTION, REGISTERS, OUTPUTS, ...) \
extern "C" __global__ void NAME(const bits32* in, bits32* out, int n) \
{ \
    __shared__ __align__(16) bits32 tile[128]; \
    for (int i = threadIdx.x; i < 128; i += 32) \
        tile[i] = in[i]; \
    __syncthreads(); \
    bits32 r[4] = {0, 0, 0, 0}; \
    bits32 row = (bits32)__cvta_generic_to_shared(&tile[4 * ((5 * threadIdx.x) % 32)]); \
    asm volatile(INSTRUCTION " " REGISTERS ", [" OUTPUTS "];" : __VA_ARGS__ : "r"(row)); \
    for (int i = 0; i < 4; i++) \
        out[4 * threadIdx.x + i] = r[i]; \
}
LOAD(load_1, "ldmatrix.sync.aligned.m8n8.x1.shared.b16", "{%0}", "%1", "=r"(r[0]))
LOAD(load_2, "ldmatrix.sync.aligned.m8n8.x2.shared.b16", "{%0,%1}", "%2", "=r"(r[0]), "=r"(r[1]))
LOAD(load_4, "ldmatrix.sync.aligned.m8n8.x4.shared.b16", "{%0,%1,%2,%3}", "%4", "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]))
LOAD(load_2_transposed, "ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16", "{%0,%1}", "%2", "=r"(r[0]), "=r"(r[1]))
LOAD(load_4_transposed, "ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16", "{%0,%1,%2,%3}", "%4",
     "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]))

// A lane's fragments: four words of a, two of b, four sums.
#define PRODUCT(NAME, TYPE) \
extern "C" __global__ void NAME(const bits32* in, bits32* out, int n) \
{ \
    const bits32* a = in + 10 * threadIdx.x; \
    float d[4]; \
    for (int i = 0; i < 4; i++) \
        d[i] = __uint_as_float(a[6 + i]); \
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32." TYPE "." TYPE ".f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};" \
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(a[4]), "r"(a[5])); \
    for (int i = 0; i < 4; i++) \
        out[4 * threadIdx.x + i] = __float_as_uint(d[i]); \
}
PRODUCT(product_bf16, "bf16")
PRODUCT(product_f16, "f16")

// The shallow form, of which our kernels have none: two words of a, one of b.
#define SHORT_PRODUCT(NAME, TYPE) \
extern "C" __global__ void NAME(const bits32* in, bits32* out, int n) \
{ \
    const bits32* a = in + 10 * threadIdx.x; \
    float d[4]; \
    for (int i = 0; i < 4; i++) \
        d[i] = __uint_as_float(a[6 + i]); \
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32." TYPE "." TYPE ".f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};" \
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[4])); \
    for (int i = 0; i < 4; i++) \
        out[4 * threadIdx.x + i] = __float_as_uint(d[i]); \
}
SHORT_PRODUCT(short_product_bf16, "bf16")
SHORT_PRODUCT(short_product_f16, "f16")
