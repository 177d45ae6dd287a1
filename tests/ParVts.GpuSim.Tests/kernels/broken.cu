// Each kernel has one fault, on the line that says "fault".
extern "C" __global__ void read_beyond(const int* in, int* out)
{
    out[threadIdx.x] = in[threadIdx.x + 1]; // fault
}

extern "C" __global__ void write_beyond(int* out, int n)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i <= n)
        out[i] = i; // fault
}

extern "C" __global__ void null_pointer(int* out)
{
    *out = 1; // fault
}

extern "C" __global__ void shared_beyond(int* out, int k)
{
    __shared__ int a[32];
    a[threadIdx.x + k] = 1; // fault
    __syncthreads();
    out[threadIdx.x] = a[threadIdx.x];
}

extern "C" __global__ void local_beyond(int* out, int k)
{
    int a[4] = {1, 2, 3, 4};
    a[(k * threadIdx.x)] = 7; // fault
    out[threadIdx.x] = a[threadIdx.x & 3];
}

extern "C" __global__ void misaligned(char* out, int k)
{
    *(int*)(out + k) = 1; // fault
}

extern "C" __global__ void unwritten_global(const int* in, int* out)
{
    out[threadIdx.x] = in[threadIdx.x]; // fault
}

extern "C" __global__ void unwritten_shared(int* out, int k)
{
    __shared__ int a[64];
    a[threadIdx.x] = threadIdx.x;
    __syncthreads();
    out[threadIdx.x] = a[threadIdx.x + k]; // fault
}

extern "C" __global__ void unwritten_local(int* out, int k)
{
    int a[8];
    a[k] = 1;
    out[threadIdx.x] = a[threadIdx.x & 7]; // fault
}

extern "C" __global__ void stale_pointer(int* p)
{
    p[threadIdx.x] = 1; // fault
}

extern "C" __global__ void divergent_barrier(int* out)
{
    __shared__ int a[64];
    a[threadIdx.x] = 1;
    if (threadIdx.x % 2 == 0) {
        __syncthreads(); // fault
        a[threadIdx.x] = 2;
    }
    out[threadIdx.x] = a[threadIdx.x];
}

extern "C" __global__ void two_barriers(int* out)
{
    if (threadIdx.x < 32) {
        out[0] = 1;
        __syncthreads(); // fault
    } else {
        out[1] = 1;
        __syncthreads();
        out[2] = 1;
    }
}

extern "C" __global__ void divergent_shuffle(int* out)
{
    int v = threadIdx.x;
    if (threadIdx.x < 16)
        v = __shfl_xor_sync(~0u, v, 1); // fault
    out[threadIdx.x] = v;
}

extern "C" __global__ void race_across_warps(int* out)
{
    __shared__ int a[64];
    a[threadIdx.x] = 0;
    __syncthreads();
    // The first warp reads before the second writes: the fault is seen at the write.
    a[threadIdx.x] = threadIdx.x + 1; // fault
    out[threadIdx.x] = a[63 - threadIdx.x];
}

extern "C" __global__ void race_in_warp(int* out)
{
    __shared__ int a[32];
    a[threadIdx.x] = threadIdx.x;
    out[threadIdx.x] = a[31 - threadIdx.x]; // fault
}

extern "C" __global__ void overwritten_too_soon(const int* in, int* out)
{
    __shared__ int a[64];
    for (int k = 0; k < 2; k++) {
        a[threadIdx.x] = in[k * 64 + threadIdx.x];
        __syncthreads();
        // The next round's writes do not wait for these reads.
        out[k * 64 + threadIdx.x] = a[63 - threadIdx.x]; // fault
    }
}

extern "C" __global__ void race_across_blocks(int* out)
{
    out[threadIdx.x] = blockIdx.x; // fault
}

extern "C" __global__ void endless(volatile int* flag)
{
    while (*flag == 0) { // fault
    }
}

extern "C" __global__ void no_wait(const int4* in, int4* out)
{
    __shared__ int4 a[32];
    unsigned to = (unsigned)__cvta_generic_to_shared(&a[threadIdx.x]);
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;\n" :: "r"(to), "l"(in + threadIdx.x));
    asm volatile("cp.async.commit_group;\n");
    out[threadIdx.x] = a[threadIdx.x]; // fault
}

extern "C" __global__ void sized(int a, long long b, char c)
{
}

extern "C" __global__ void many_shared(int* out)
{
    extern __shared__ int big[];
    big[threadIdx.x] = 1;
    out[threadIdx.x] = big[threadIdx.x];
}
