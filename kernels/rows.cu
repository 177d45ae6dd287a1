// Rows that move between layers: gathered, scattered, merged by weights, and keys and values that are thinned within a cache.
//
//   gather_rows:   y[i] = x[rows[i]]            scatter_rows:  y[rows[i]] = x[i]
//   merge_rows:    y[i] = sum of weights[e] * x[sources[e]] over e = offsets[i] ... offsets[i + 1] - 1
//
// Shapes   x, y float32, columns and strides multiples of 4; y does not overlap x. Indices int32.
// Launch   one block of THREADS a row of the list.
// Bytes    each row read once and written once: 8 * columns; merge_rows reads a row for each of its entries.
#ifndef THREADS
#define THREADS 256
#endif

extern "C" __global__ void __launch_bounds__(THREADS) gather_rows(
    const float* __restrict__ x, int x_stride, const int* __restrict__ rows, float* __restrict__ y, int y_stride, int columns)
{
    const float4* source = (const float4*)(x + (long long)rows[blockIdx.x] * x_stride);
    float4* target = (float4*)(y + (long long)blockIdx.x * y_stride);
    for (int place = threadIdx.x; 4 * place < columns; place += THREADS)
        target[place] = source[place];
}

extern "C" __global__ void __launch_bounds__(THREADS) scatter_rows(
    const float* __restrict__ x, int x_stride, const int* __restrict__ rows, float* __restrict__ y, int y_stride, int columns)
{
    const float4* source = (const float4*)(x + (long long)blockIdx.x * x_stride);
    float4* target = (float4*)(y + (long long)rows[blockIdx.x] * y_stride);
    for (int place = threadIdx.x; 4 * place < columns; place += THREADS)
        target[place] = source[place];
}

extern "C" __global__ void __launch_bounds__(THREADS) merge_rows(
    const float* __restrict__ x, int x_stride, const int* __restrict__ offsets, const int* __restrict__ sources,
    const float* __restrict__ weights, float* __restrict__ y, int y_stride, int columns)
{
    int begin = offsets[blockIdx.x];
    int end = offsets[blockIdx.x + 1];
    float4* target = (float4*)(y + (long long)blockIdx.x * y_stride);
    for (int place = threadIdx.x; 4 * place < columns; place += THREADS)
    {
        float4 sum = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
        for (int entry = begin; entry < end; entry++)
        {
            float weight = weights[entry];
            float4 v = ((const float4*)(x + (long long)sources[entry] * x_stride))[place];
            sum.x = fmaf(weight, v.x, sum.x);
            sum.y = fmaf(weight, v.y, sum.y);
            sum.z = fmaf(weight, v.z, sum.z);
            sum.w = fmaf(weight, v.w, sum.w);
        }

        target[place] = sum;
    }
}
