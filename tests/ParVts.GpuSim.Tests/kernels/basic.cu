// Ordinary kernels, each compared with the same in C#.
extern "C" __global__ void add(const float* a, const float* b, float* c, int n)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n)
        c[i] = a[i] + b[i];
}

extern "C" __global__ void reduce(const float* x, float* out, int n)
{
    __shared__ float part[32];
    float sum = 0;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
        sum += x[i];
    for (int k = 16; k; k >>= 1)
        sum += __shfl_xor_sync(~0u, sum, k);
    if (threadIdx.x % 32 == 0)
        part[threadIdx.x / 32] = sum;
    __syncthreads();
    if (threadIdx.x < 32) {
        sum = threadIdx.x < blockDim.x / 32 ? part[threadIdx.x] : 0;
        for (int k = 16; k; k >>= 1)
            sum += __shfl_down_sync(~0u, sum, k);
        if (threadIdx.x == 0)
            atomicAdd(out, sum);
    }
}

extern "C" __global__ void transpose(const int* in, int* out, int rows, int columns)
{
    __shared__ int tile[16][17];
    int r = blockIdx.y * 16 + threadIdx.y, c = blockIdx.x * 16 + threadIdx.x;
    if (r < rows && c < columns)
        tile[threadIdx.y][threadIdx.x] = in[r * columns + c];
    __syncthreads();
    r = blockIdx.x * 16 + threadIdx.y;
    c = blockIdx.y * 16 + threadIdx.x;
    if (r < columns && c < rows)
        out[r * rows + c] = tile[threadIdx.x][threadIdx.y];
}

extern "C" __global__ void softmax(const float* x, float* y, int columns)
{
    extern __shared__ float scratch[];
    const float* row = x + blockIdx.x * columns;
    float most = -1e30f;
    for (int i = threadIdx.x; i < columns; i += 32)
        most = fmaxf(most, row[i]);
    for (int k = 16; k; k >>= 1)
        most = fmaxf(most, __shfl_xor_sync(~0u, most, k));
    float sum = 0;
    for (int i = threadIdx.x; i < columns; i += 32) {
        scratch[i] = __expf(row[i] - most);
        sum += scratch[i];
    }
    for (int k = 16; k; k >>= 1)
        sum += __shfl_xor_sync(~0u, sum, k);
    for (int i = threadIdx.x; i < columns; i += 32)
        y[blockIdx.x * columns + i] = scratch[i] / sum;
}

extern "C" __global__ void nests(const int* in, int* out, int n)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n)
        return;
    int x = in[i], steps = 0, sum = 0;
    while (x != 1 && steps < 100) {
        steps++;
        if (x & 1) {
            if (x % 3 == 0) {
                x = x / 3;
                continue;
            }
            x = 3 * x + 1;
            if (x > 5000)
                break;
        } else {
            x >>= 1;
        }
        for (int k = 0; k < x % 5; k++) {
            if (k == 3)
                break;
            sum += k * steps;
        }
        switch (x % 7) {
            case 0: sum += 11; break;
            case 3: sum ^= x;
            case 4: sum -= 5; break;
            default: sum++;
        }
    }
    out[i] = sum * 1000 + steps;
}

extern "C" __global__ void histogram(const int* in, int* bins, int n)
{
    __shared__ int local[64];
    for (int i = threadIdx.x; i < 64; i += blockDim.x)
        local[i] = 0;
    __syncthreads();
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
        atomicAdd(&local[in[i] & 63], 1);
    __syncthreads();
    for (int i = threadIdx.x; i < 64; i += blockDim.x)
        atomicAdd(&bins[i], local[i]);
}

__device__ __noinline__ float series(float x, int n)
{
    float sum = 0;
    for (int k = 0; k < n; k++) {
        if (sum > 3)
            return sum;
        sum += x / (k + 1.0f);
    }
    return sum + 100;
}

__constant__ float scale[4] = {1, 2, 3, 4};

extern "C" __global__ void calls(const float* in, float* out)
{
    float stack[8];
    for (int k = 0; k < 8; k++)
        stack[(k + threadIdx.x) & 7] = in[threadIdx.x] * k;
    out[threadIdx.x] = series(in[threadIdx.x], threadIdx.x) + stack[threadIdx.x & 3] * scale[threadIdx.x & 3];
}

extern "C" __global__ void spin(int* out, int n)
{
    int a = threadIdx.x, b = blockIdx.x;
    for (int i = 0; i < n; i++) {
        a = a * 1664525 + 1013904223;
        b ^= a >> 7;
        if (b == 12345)
            b += n;
    }
    out[blockIdx.x * blockDim.x + threadIdx.x] = a + b;
}

extern "C" __global__ void library(const float* in, float* out, int n)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n)
        return;
    float x = in[i];
    double d = x;
    float* o = out + 10 * i;
    o[0] = sinf(x);
    o[1] = cosf(x * 1e6f);
    o[2] = expf(x);
    o[3] = logf(fabsf(x));
    o[4] = powf(fabsf(x), 1.7f);
    o[5] = tanhf(x);
    o[6] = (float)(sqrt(fabs(d)) / (d + 100));
    o[7] = rsqrtf(fabsf(x)) + floorf(x) + rintf(x);
    o[8] = erff(x);
    o[9] = fmodf(x, 0.7f);
}
