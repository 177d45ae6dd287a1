// Rows in pieces of four columns. The bulk moves in one access (16 bytes of float32, 8 of the 16-bit types); the last piece of a
// row whose columns are no multiple of four moves value by value, since what lies beyond a row's columns is nobody's.
#pragma once
#include "types.cuh"

__device__ inline float4 load4(const float* row, int column, int columns)
{
    if (column + 4 <= columns)
        return *(const float4*)(row + column);
    float4 v = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    if (column < columns)
        v.x = row[column];
    if (column + 1 < columns)
        v.y = row[column + 1];
    if (column + 2 < columns)
        v.z = row[column + 2];
    return v;
}

__device__ inline void store4(float* row, int column, int columns, float4 v)
{
    if (column + 4 <= columns)
    {
        *(float4*)(row + column) = v;
        return;
    }
    if (column < columns)
        row[column] = v.x;
    if (column + 1 < columns)
        row[column + 1] = v.y;
    if (column + 2 < columns)
        row[column + 2] = v.z;
}

#if ELEMENT != ELEMENT_F32
__device__ inline float4 load4(const element* row, int column, int columns)
{
    float4 v = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    if (column + 4 <= columns)
    {
        element4 z = *(const element4*)(row + column);
        return make_float4(widen(z.x), widen(z.y), widen(z.z), widen(z.w));
    }
    if (column < columns)
        v.x = widen(row[column]);
    if (column + 1 < columns)
        v.y = widen(row[column + 1]);
    if (column + 2 < columns)
        v.z = widen(row[column + 2]);
    return v;
}

__device__ inline void store4(element* row, int column, int columns, float4 v)
{
    element4 z;
    z.x = narrow(v.x);
    z.y = narrow(v.y);
    z.z = narrow(v.z);
    z.w = narrow(v.w);
    if (column + 4 <= columns)
    {
        *(element4*)(row + column) = z;
        return;
    }
    if (column < columns)
        row[column] = z.x;
    if (column + 1 < columns)
        row[column + 1] = z.y;
    if (column + 2 < columns)
        row[column + 2] = z.z;
}
#endif
