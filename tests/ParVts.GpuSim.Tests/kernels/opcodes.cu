// Opcodes that engines' kernels have and the other files lack.
typedef unsigned long long u64;

extern "C" __global__ void packs(const float* in, unsigned* out)
{
    float a = in[2 * threadIdx.x], b = in[2 * threadIdx.x + 1];
    unsigned f16, bf16;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(f16) : "f"(b), "f"(a));
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(bf16) : "f"(b), "f"(a));
    out[2 * threadIdx.x] = f16;
    out[2 * threadIdx.x + 1] = bf16;
}

// d = a * b + c, a + b, a * b, larger of a and b in pairs of 16-bit floats.
#define PAIRS(NAME, TYPE) \
extern "C" __global__ void NAME(const unsigned* in, unsigned* out) \
{ \
    unsigned a = in[3 * threadIdx.x], b = in[3 * threadIdx.x + 1], c = in[3 * threadIdx.x + 2], d; \
    asm("fma.rn." TYPE " %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(c)); \
    out[2 * threadIdx.x] = d; \
    asm("max." TYPE " %0, %1, %2;" : "=r"(d) : "r"(a), "r"(b)); \
    out[2 * threadIdx.x + 1] = d; \
}
PAIRS(pairs_bf16, "bf16x2")
PAIRS(pairs_f16, "f16x2")

extern "C" __global__ void sums_f16(const unsigned* in, unsigned* out)
{
    unsigned a = in[2 * threadIdx.x], b = in[2 * threadIdx.x + 1], d;
    asm("add.f16x2 %0, %1, %2;" : "=r"(d) : "r"(a), "r"(b));
    asm("mul.f16x2 %0, %1, %2;" : "=r"(d) : "r"(d), "r"(b));
    out[threadIdx.x] = d;
}

extern "C" __global__ void whole(const int* in, int* out)
{
    int a = in[threadIdx.x], b = in[threadIdx.x + 32], r;
    out[8 * threadIdx.x] = __mul24(a, b);
    out[8 * threadIdx.x + 1] = __umul24(a, b);
    out[8 * threadIdx.x + 2] = __byte_perm(a, b, 0x4715);
    out[8 * threadIdx.x + 3] = __funnelshift_r(a, b, 11);
    asm("{.reg .u64 x;\n mov.b64 x, {%1, %2};\n brev.b64 x, x;\n cvt.u32.u64 %0, x;}" : "=r"(r) : "r"(a), "r"(b));
    out[8 * threadIdx.x + 4] = r;
    out[8 * threadIdx.x + 5] = __sad(a, b, 7u);
    out[8 * threadIdx.x + 6] = __reduce_max_sync(~0u, a);
    out[8 * threadIdx.x + 7] = __popc(__match_any_sync(~0u, a & 3));
}

extern "C" __global__ void atomics64(u64* at)
{
    atomicAdd(at, 5ULL);
    atomicMax(at + 1, (u64)threadIdx.x << 40);
    atomicCAS(at + 2, 0ULL, 77ULL);
    atomicAdd((double*)(at + 3), 0.5);
    __nanosleep(10);
}

extern "C" __global__ void functions(const float* in, float* out)
{
    float x = in[threadIdx.x];
    float* o = out + 8 * threadIdx.x;
    o[0] = erff(x);
    o[1] = __expf(x);
    o[2] = __logf(fabsf(x) + 1);
    o[3] = __sinf(x);
    o[4] = sinf(x * 1e8f);
    o[5] = (float)(sqrt((double)fabsf(x)) / 3.0 + fma((double)x, (double)x, 1.0));
    o[6] = cbrtf(x) + log1pf(fabsf(x)) + exp2f(x);
    o[7] = (float)(long long)(x * 1000) + rintf(x) + __fdividef(x, 3.0f);
}

// Only the first bytes of each piece are read, the rest is zeros; nothing beyond the input is touched.
extern "C" __global__ void zero_filled(const float* in, float* out, int count)
{
    __shared__ __align__(16) float s[128];
    int left = 4 * (count - 4 * (int)threadIdx.x), size = left < 0 ? 0 : left > 16 ? 16 : left;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\ncp.async.wait_all;\n"
        :: "r"((unsigned)__cvta_generic_to_shared(s + 4 * threadIdx.x)), "l"(in + (size > 0 ? 4 * threadIdx.x : 0)), "r"(size));
    __syncthreads();
    out[threadIdx.x] = s[threadIdx.x] + s[threadIdx.x + 32] + s[threadIdx.x + 64] + s[threadIdx.x + 96];
}

// Two pairs of warps, each with a barrier of its own.
extern "C" __global__ void named_barriers(int* out)
{
    __shared__ int s[128];
    int half = threadIdx.x / 64, other = half * 64 + (threadIdx.x % 64 ^ 32);
    s[threadIdx.x] = threadIdx.x;
    if (half == 0) asm volatile("bar.sync 1, 64;"); else asm volatile("bar.sync 2, 64;");
    out[threadIdx.x] = s[other];
}
