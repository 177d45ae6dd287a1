// RMS and layer normalisation, row by row.
//
//   rms_norm:    y = x / sqrt(mean(x^2) + eps) * weight                       (RMSNorm, arXiv 1910.07467)
//   layer_norm:  y = (x - mean) / sqrt(var + eps) * weight + bias             (arXiv 1607.06450)
//
// Shapes   x [rows, columns] float32, row stride x_stride; weight, bias [columns] float32; y [rows, columns] ELEMENT, stride
//          y_stride. Columns a multiple of 4, at most 4 * THREADS * VALUES; strides multiples of 4.
// Launch   one block of THREADS a row.
// Bytes    x once (a row waits in registers for its own scale), y once, weight from cache: 4 + sizeof(ELEMENT) a value.
// Why so   memory-bound: each byte moves once, in 16-byte pieces; the second pass of layer_norm, over x - mean, runs on the
//          registers, so that the variance does not cancel.
// Tried    one load and one store function for both kernels: NVRTC 11.8 then spills 16 bytes in layer_norm (sm_80, bf16), so
//          the two stand written out.
#include "types.cuh"
#include "reduce.cuh"

#ifndef THREADS
#define THREADS 256
#endif
#ifndef VALUES
#define VALUES 4
#endif

__device__ inline float square_sum(float4 v) { return v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w; }

extern "C" __global__ void __launch_bounds__(THREADS) rms_norm(
    const float* __restrict__ x, int x_stride, const float* __restrict__ weight, float eps, element* __restrict__ y, int y_stride, int columns)
{
    __shared__ float scratch[32];
    const float4* row = (const float4*)(x + (long long)blockIdx.x * x_stride);
    float4 values[VALUES];
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < VALUES; i++)
    {
        int place = threadIdx.x + i * THREADS;
        values[i] = 4 * place < columns ? row[place] : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
        sum += square_sum(values[i]);
    }

    float scale = 1.0f / sqrtf(block_sum(sum, scratch) / columns + eps);
    element4* out = (element4*)(y + (long long)blockIdx.x * y_stride);
#pragma unroll
    for (int i = 0; i < VALUES; i++)
    {
        int place = threadIdx.x + i * THREADS;
        if (4 * place >= columns)
            continue;
        float4 w = ((const float4*)weight)[place];
        element4 z;
        z.x = narrow(values[i].x * scale * w.x);
        z.y = narrow(values[i].y * scale * w.y);
        z.z = narrow(values[i].z * scale * w.z);
        z.w = narrow(values[i].w * scale * w.w);
        out[place] = z;
    }
}

extern "C" __global__ void __launch_bounds__(THREADS) layer_norm(
    const float* __restrict__ x, int x_stride, const float* __restrict__ weight, const float* __restrict__ bias, float eps,
    element* __restrict__ y, int y_stride, int columns)
{
    __shared__ float scratch[32];
    const float4* row = (const float4*)(x + (long long)blockIdx.x * x_stride);
    float4 values[VALUES];
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < VALUES; i++)
    {
        int place = threadIdx.x + i * THREADS;
        values[i] = 4 * place < columns ? row[place] : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
        sum += values[i].x + values[i].y + values[i].z + values[i].w;
    }

    float mean = block_sum(sum, scratch) / columns;
    sum = 0.0f;
#pragma unroll
    for (int i = 0; i < VALUES; i++)
    {
        if (4 * (threadIdx.x + i * THREADS) >= columns)
            continue;
        values[i] = make_float4(values[i].x - mean, values[i].y - mean, values[i].z - mean, values[i].w - mean);
        sum += square_sum(values[i]);
    }

    float scale = 1.0f / sqrtf(block_sum(sum, scratch) / columns + eps);
    element4* out = (element4*)(y + (long long)blockIdx.x * y_stride);
#pragma unroll
    for (int i = 0; i < VALUES; i++)
    {
        int place = threadIdx.x + i * THREADS;
        if (4 * place >= columns)
            continue;
        float4 w = ((const float4*)weight)[place];
        float4 b = ((const float4*)bias)[place];
        element4 z;
        z.x = narrow(values[i].x * scale * w.x + b.x);
        z.y = narrow(values[i].y * scale * w.y + b.y);
        z.z = narrow(values[i].z * scale * w.z + b.z);
        z.w = narrow(values[i].w * scale * w.w + b.w);
        out[place] = z;
    }
}
