// What an engine's kernels spend their time on, to measure the simulator with: a product of matrices and an attention on tensor cores.
typedef unsigned short u16;
typedef unsigned long long u64;

__device__ unsigned shared_address(const void* p) { return (unsigned)__cvta_generic_to_shared(p); }

__device__ void copy16(unsigned to, const void* from) { asm volatile("cp.async.cg.shared.global [%0], [%1], 16;\n" :: "r"(to), "l"(from)); }

__device__ void load4(unsigned* r, unsigned p)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];\n" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(p));
}

__device__ void load4_transposed(unsigned* r, unsigned p)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];\n" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(p));
}

__device__ void multiply(float* d, const unsigned* a, unsigned b0, unsigned b1)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\n"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// A row of 64 elements is eight pieces of 16 bytes; piece p of row r lies at p xor (r mod 8), so that eight rows fill all banks.
__device__ unsigned place(unsigned base, int row, int piece) { return base + 128 * row + 16 * (piece ^ (row & 7)); }

// c[m][n] = a[m][k] * b[n][k]^T in bf16, tiles of 64 x 64 x 64, four warps of 16 rows, two buffers.
extern "C" __global__ void __launch_bounds__(128) gemm(const u16* a, const u16* b, float* c, int n, int k)
{
    __shared__ __align__(128) u16 sa[2][64 * 64], sb[2][64 * 64];
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const u16* rows = a + (u64)blockIdx.y * 64 * k;
    const u16* columns = b + (u64)blockIdx.x * 64 * k;
    float d[8][4] = {};
    for (int step = -1; step < k / 64; step++) {
        int next = step + 1;
        if (next < k / 64) {
            for (int i = threadIdx.x; i < 512; i += 128) {
                copy16(place(shared_address(sa[next & 1]), i / 8, i % 8), rows + (u64)(i / 8) * k + 64 * next + 8 * (i % 8));
                copy16(place(shared_address(sb[next & 1]), i / 8, i % 8), columns + (u64)(i / 8) * k + 64 * next + 8 * (i % 8));
            }
        }
        asm volatile("cp.async.commit_group;\n");
        if (step < 0)
            continue;
        asm volatile("cp.async.wait_group 1;\n");
        __syncthreads();
        unsigned pa = shared_address(sa[step & 1]), pb = shared_address(sb[step & 1]);
#pragma unroll
        for (int kk = 0; kk < 4; kk++) {
            unsigned fa[4], fb[4];
            load4(fa, place(pa, 16 * warp + lane % 16, 2 * kk + lane / 16));
#pragma unroll
            for (int j = 0; j < 8; j += 2) {
                load4(fb, place(pb, 8 * j + lane % 8 + 8 * (lane / 16), 2 * kk + (lane / 8) % 2));
                multiply(d[j], fa, fb[0], fb[1]);
                multiply(d[j + 1], fa, fb[2], fb[3]);
            }
        }
        __syncthreads();
    }
    float* out = c + (u64)(blockIdx.y * 64 + 16 * warp + lane / 4) * n + blockIdx.x * 64 + 2 * (lane % 4);
    for (int j = 0; j < 8; j++) {
        *(float2*)(out + 8 * j) = make_float2(d[j][0], d[j][1]);
        *(float2*)(out + 8 * n + 8 * j) = make_float2(d[j][2], d[j][3]);
    }
}

__device__ float power(float x) { float y; asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x)); return y; }
__device__ unsigned pack(float x, float y) { unsigned z; asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(z) : "f"(y), "f"(x)); return z; }

// softmax(q k^T) v for heads of 64, one block of four warps for 64 rows of a head; q is scaled already. All [head][rows][64].
extern "C" __global__ void __launch_bounds__(128) attention(const u16* q, const u16* k, const u16* v, float* o, int rows)
{
    __shared__ __align__(128) u16 sq[64 * 64], sk[64 * 64], sv[64 * 64];
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    u64 head = (u64)blockIdx.y * rows * 64;
    for (int i = threadIdx.x; i < 512; i += 128)
        copy16(place(shared_address(sq), i / 8, i % 8), q + head + (blockIdx.x * 64 + i / 8) * 64 + 8 * (i % 8));
    float out[8][4] = {}, top[2] = {-1e30f, -1e30f}, sum[2] = {0, 0};
    for (int first = 0; first < rows; first += 64) {
        for (int i = threadIdx.x; i < 512; i += 128) {
            copy16(place(shared_address(sk), i / 8, i % 8), k + head + (first + i / 8) * 64 + 8 * (i % 8));
            copy16(place(shared_address(sv), i / 8, i % 8), v + head + (first + i / 8) * 64 + 8 * (i % 8));
        }
        asm volatile("cp.async.commit_group;\ncp.async.wait_group 0;\n");
        __syncthreads();
        float s[8][4] = {};
#pragma unroll
        for (int kk = 0; kk < 4; kk++) {
            unsigned fa[4], fb[4];
            load4(fa, place(shared_address(sq), 16 * warp + lane % 16, 2 * kk + lane / 16));
#pragma unroll
            for (int j = 0; j < 8; j += 2) {
                load4(fb, place(shared_address(sk), 8 * j + lane % 8 + 8 * (lane / 16), 2 * kk + (lane / 8) % 2));
                multiply(s[j], fa, fb[0], fb[1]);
                multiply(s[j + 1], fa, fb[2], fb[3]);
            }
        }
#pragma unroll
        for (int r = 0; r < 2; r++) {
            float most = top[r];
#pragma unroll
            for (int j = 0; j < 8; j++)
                most = fmaxf(most, fmaxf(s[j][2 * r], s[j][2 * r + 1]));
            most = fmaxf(most, __shfl_xor_sync(~0u, most, 1));
            most = fmaxf(most, __shfl_xor_sync(~0u, most, 2));
            float scale = power(top[r] - most);
            top[r] = most;
            sum[r] *= scale;
#pragma unroll
            for (int j = 0; j < 8; j++) {
                s[j][2 * r] = power(s[j][2 * r] - most);
                s[j][2 * r + 1] = power(s[j][2 * r + 1] - most);
                sum[r] += s[j][2 * r] + s[j][2 * r + 1];
                out[j][2 * r] *= scale;
                out[j][2 * r + 1] *= scale;
            }
        }
#pragma unroll
        for (int kk = 0; kk < 4; kk++) {
            unsigned fa[4] = {pack(s[2 * kk][0], s[2 * kk][1]), pack(s[2 * kk][2], s[2 * kk][3]),
                pack(s[2 * kk + 1][0], s[2 * kk + 1][1]), pack(s[2 * kk + 1][2], s[2 * kk + 1][3])}, fb[4];
#pragma unroll
            for (int j = 0; j < 8; j += 2) {
                load4_transposed(fb, place(shared_address(sv), 16 * kk + lane % 16, j + lane / 16));
                multiply(out[j], fa, fb[0], fb[1]);
                multiply(out[j + 1], fa, fb[2], fb[3]);
            }
        }
        __syncthreads();
    }
    for (int r = 0; r < 2; r++) {
        float all = sum[r] + __shfl_xor_sync(~0u, sum[r], 1);
        all += __shfl_xor_sync(~0u, all, 2);
        float* to = o + head + (blockIdx.x * 64 + 16 * warp + lane / 4 + 8 * r) * 64 + 2 * (lane % 4);
        for (int j = 0; j < 8; j++)
            *(float2*)(to + 8 * j) = make_float2(out[j][2 * r] / all, out[j][2 * r + 1] / all);
    }
}

extern "C" __global__ void nothing(int n) { }
