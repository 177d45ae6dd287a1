// Every result of one pair of operands, side by side.
#define INTEGERS(NAME, TYPE, BITS) \
extern "C" __global__ void NAME(const TYPE* a, const TYPE* b, TYPE* out, int n) \
{ \
    int i = blockIdx.x * blockDim.x + threadIdx.x; \
    if (i >= n) \
        return; \
    TYPE x = a[i], y = b[i]; \
    TYPE* o = out + 16 * i; \
    int s = (int)(y & (BITS - 1)); \
    o[0] = x + y; \
    o[1] = x - y; \
    o[2] = x * y; \
    o[3] = y ? x / y : 0; \
    o[4] = y ? x % y : 0; \
    o[5] = x < y ? x : y; \
    o[6] = x > y ? x : y; \
    o[7] = x & y; \
    o[8] = x | y; \
    o[9] = x ^ y; \
    o[10] = ~x; \
    o[11] = x << s; \
    o[12] = x >> s; \
    o[13] = (x < y) + 2 * (x == y) + 4 * (x >= y); \
    o[14] = x / 7; \
    o[15] = x % 10; \
}
INTEGERS(ints_u8, unsigned char, 8)
INTEGERS(ints_s8, signed char, 8)
INTEGERS(ints_u16, unsigned short, 16)
INTEGERS(ints_s16, short, 16)
INTEGERS(ints_u32, unsigned, 32)
INTEGERS(ints_s32, int, 32)
INTEGERS(ints_u64, unsigned long long, 64)
INTEGERS(ints_s64, long long, 64)

extern "C" __global__ void bits(const unsigned* a, const unsigned* b, unsigned* out, int n)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n)
        return;
    unsigned x = a[i], y = b[i], r;
    unsigned long long w = ((unsigned long long)x << 32) | y;
    unsigned* o = out + 12 * i;
    o[0] = __popc(x);
    o[1] = __clz(x);
    o[2] = __brev(x);
    o[3] = __byte_perm(x, y, y >> 7);
    o[4] = __funnelshift_l(x, y, x & 31);
    o[5] = __umulhi(x, y);
    o[6] = __mulhi((int)x, (int)y);
    o[7] = __popcll(w) + 100 * __clzll(w);
    asm("bfe.u32 %0, %1, %2, %3;" : "=r"(r) : "r"(x), "r"(y & 31), "r"(y >> 5 & 31));
    o[8] = r;
    asm("bfi.b32 %0, %1, %2, %3, %4;" : "=r"(r) : "r"(x), "r"(y), "r"(y & 31), "r"(y >> 5 & 31));
    o[9] = r;
    asm("lop3.b32 %0, %1, %2, %3, 0xCA;" : "=r"(r) : "r"(x), "r"(y), "r"(x + y));
    o[10] = r;
    o[11] = (unsigned)(__umul64hi(w, w) >> 3);
}

extern "C" __global__ void roundings(const float* a, const float* b, const float* c, float* out, int n)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n)
        return;
    float x = a[i], y = b[i], z = c[i];
    float* o = out + 16 * i;
    o[0] = __fmaf_rn(x, y, z);
    o[1] = __fmaf_rz(x, y, z);
    o[2] = __fmaf_rd(x, y, z);
    o[3] = __fmaf_ru(x, y, z);
    o[4] = __fadd_rn(x, y);
    o[5] = __fadd_rz(x, y);
    o[6] = __fadd_rd(x, y);
    o[7] = __fadd_ru(x, y);
    o[8] = __fmul_rn(x, y);
    o[9] = __fmul_rz(x, y);
    o[10] = __fmul_rd(x, y);
    o[11] = __fmul_ru(x, y);
    o[12] = __double2float_rn((double)x * y);
    o[13] = __double2float_rz((double)x * y);
    o[14] = __double2float_rd((double)x * y);
    o[15] = __double2float_ru((double)x * y);
}

extern "C" __global__ void conversions(const float* a, int* out, int n)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n)
        return;
    float x = a[i];
    int* o = out + 8 * i;
    unsigned r;
    o[0] = __float2int_rz(x);
    o[1] = __float2int_rn(x);
    o[2] = __float2int_rd(x);
    o[3] = __float2int_ru(x);
    o[4] = (int)__float2uint_rz(x);
    asm("{.reg .b16 h; cvt.rn.f16.f32 h, %1; mov.b32 %0, {h, h};}" : "=r"(r) : "f"(x));
    o[5] = (int)(r & 0xffff);
    asm("{.reg .b16 h; cvt.rn.bf16.f32 h, %1; mov.b32 %0, {h, h};}" : "=r"(r) : "f"(x));
    o[6] = (int)(r & 0xffff);
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(x), "f"(-x));
    o[7] = (int)r;
}
