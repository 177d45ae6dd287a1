// Tensor cores and asynchronous copies by inline PTX.
typedef unsigned short u16;

__device__ unsigned shared_address(const void* p) { return (unsigned)__cvta_generic_to_shared(p); }

__device__ void load4(unsigned* r, const void* p)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];\n"
        : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(shared_address(p)));
}

__device__ void load2_transposed(unsigned* r, const void* p)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];\n"
        : "=r"(r[0]), "=r"(r[1]) : "r"(shared_address(p)));
}

// c[16][8] = a[16][k] * b[k][8]; both row by row, k a multiple of 16.
#define PRODUCT(NAME, TYPE) \
extern "C" __global__ void NAME(const u16* a, const u16* b, float* c, int k) \
{ \
    __shared__ __align__(16) u16 sa[16][16], sb[16][8]; \
    int lane = threadIdx.x; \
    float d[4] = {0, 0, 0, 0}; \
    for (int k0 = 0; k0 < k; k0 += 16) { \
        for (int i = lane; i < 256; i += 32) \
            sa[i / 16][i % 16] = a[(i / 16) * k + k0 + i % 16]; \
        for (int i = lane; i < 128; i += 32) \
            sb[i / 8][i % 8] = b[(k0 + i / 8) * 8 + i % 8]; \
        __syncthreads(); \
        unsigned fa[4], fb[2]; \
        load4(fa, &sa[lane % 16][8 * (lane / 16)]); \
        load2_transposed(fb, &sb[lane % 16][0]); \
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32." TYPE "." TYPE ".f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\n" \
            : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(fa[0]), "r"(fa[1]), "r"(fa[2]), "r"(fa[3]), "r"(fb[0]), "r"(fb[1])); \
        __syncthreads(); \
    } \
    int g = lane / 4, t = lane % 4; \
    c[g * 8 + 2 * t] = d[0]; \
    c[g * 8 + 2 * t + 1] = d[1]; \
    c[(g + 8) * 8 + 2 * t] = d[2]; \
    c[(g + 8) * 8 + 2 * t + 1] = d[3]; \
}
PRODUCT(product_bf16, "bf16")
PRODUCT(product_f16, "f16")

// k = 8, with fragments gathered by hand: two pairs of a, one of b.
extern "C" __global__ void product_short(const u16* a, const u16* b, float* c)
{
    int g = threadIdx.x / 4, t = threadIdx.x % 4;
    unsigned a0 = a[g * 8 + 2 * t] | (a[g * 8 + 2 * t + 1] << 16);
    unsigned a1 = a[(g + 8) * 8 + 2 * t] | (a[(g + 8) * 8 + 2 * t + 1] << 16);
    unsigned b0 = b[2 * t * 8 + g] | (b[(2 * t + 1) * 8 + g] << 16);
    float d[4];
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%7,%7,%7,%7};\n"
        : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3]) : "r"(a0), "r"(a1), "r"(b0), "f"(1.0f));
    for (int n = 0; n < 4; n++)
        c[(g + 8 * (n / 2)) * 8 + 2 * t + n % 2] = d[n];
}

// Copies through two buffers, one tile ahead; WAIT is how many groups may be left.
#define PIPELINE(NAME, WAIT) \
extern "C" __global__ void NAME(const float* in, float* out, int tiles) \
{ \
    __shared__ __align__(16) float buffer[2][128]; \
    float sum = 0; \
    unsigned to = shared_address(&buffer[0][4 * threadIdx.x]); \
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;\ncp.async.commit_group;\n" :: "r"(to), "l"(in + 4 * threadIdx.x)); \
    for (int k = 0; k < tiles; k++) { \
        if (k + 1 < tiles) { \
            to = shared_address(&buffer[(k + 1) & 1][4 * threadIdx.x]); \
            asm volatile("cp.async.cg.shared.global [%0], [%1], 16;\n" :: "r"(to), "l"(in + (k + 1) * 128 + 4 * threadIdx.x)); \
        } \
        asm volatile("cp.async.commit_group;\ncp.async.wait_group " WAIT ";\n"); \
        __syncthreads(); \
        for (int n = 0; n < 4; n++) \
            sum += buffer[k & 1][127 - 4 * threadIdx.x - n]; \
        __syncthreads(); \
    } \
    out[threadIdx.x] = sum; \
}
PIPELINE(pipeline, "1")
PIPELINE(pipeline_short_wait, "2")
