// Kernels whose traffic is known.
__device__ unsigned shared_address(const void* p) { return (unsigned)__cvta_generic_to_shared(p); }

// One warp: lane l loads element l * stride.
extern "C" __global__ void strided(const float* in, float* out, int stride) { out[threadIdx.x] = in[threadIdx.x * stride]; }

extern "C" __global__ void wide(const float4* in, float4* out) { out[threadIdx.x] = in[threadIdx.x]; }

// Every block loads the same: distinct sectors count once.
extern "C" __global__ void shared_input(const float* in, float* out) { out[blockIdx.x * 32 + threadIdx.x] = in[threadIdx.x]; }

// One store without conflicts, one load at the stride.
extern "C" __global__ void banks4(float* out, int stride)
{
    extern __shared__ float s[];
    for (int i = threadIdx.x; i < 2048; i += 32)
        s[i] = i;
    __syncwarp();
    float x = s[threadIdx.x * stride]; // conflict
    out[threadIdx.x] = x;
}

extern "C" __global__ void banks8(float2* out, int stride)
{
    extern __shared__ float2 t[];
    for (int i = threadIdx.x; i < 2048; i += 32)
        t[i] = make_float2(i, i);
    __syncwarp();
    out[threadIdx.x] = t[threadIdx.x * stride]; // conflict
}

extern "C" __global__ void banks16(float4* out, int stride)
{
    extern __shared__ float4 u[];
    for (int i = threadIdx.x; i < 1024; i += 32)
        u[i] = make_float4(i, i, i, i);
    __syncwarp();
    out[threadIdx.x] = u[threadIdx.x * stride]; // conflict
}

// ldmatrix x4 of rows of 128 bytes: plain, all eight rows of a matrix begin in one bank; swizzled, in eight groups.
extern "C" __global__ void matrices(unsigned* out, int swizzled)
{
    __shared__ __align__(128) unsigned m[16 * 32];
    for (int i = threadIdx.x; i < 512; i += 32)
        m[i] = i;
    __syncwarp();
    int row = threadIdx.x % 16, piece = threadIdx.x / 16;
    unsigned p = shared_address(m) + 128 * row + 16 * (swizzled ? piece ^ (row & 7) : piece), r[4];
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];\n" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(p)); // conflict
    out[threadIdx.x] = r[0] + r[1] + r[2] + r[3];
}

// The last block to come sums up what all have left: a fence and a counter hand it over. FENCE 0: without the fence.
#define LAST(NAME, FENCE) \
extern "C" __global__ void NAME(int* parts, unsigned* count, int* out) \
{ \
    __shared__ int last; \
    parts[blockIdx.x * blockDim.x + threadIdx.x] = blockIdx.x + threadIdx.x; \
    if (FENCE) __threadfence(); \
    __syncthreads(); \
    if (threadIdx.x == 0) last = atomicAdd(count, 1) == gridDim.x - 1; \
    __syncthreads(); \
    if (!last) return; \
    int sum = 0; \
    for (int b = 0; b < gridDim.x; b++) sum += parts[b * blockDim.x + threadIdx.x]; \
    out[threadIdx.x] = sum; \
}
LAST(last_block, 1)
LAST(last_block_unfenced, 0)
