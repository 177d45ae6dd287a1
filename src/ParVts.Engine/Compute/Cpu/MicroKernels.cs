using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace ParVts.Engine.Compute.Cpu;

/// <summary>
/// Register-blocked inner loops. Each holds a tile of the result in registers for the whole inner dimension; every
/// element is summed in the order of the inner index, so it does not depend on its neighbours.
/// </summary>
internal static unsafe class MicroKernels
{
    /// <summary>
    /// c[6, 16] += a · b for packed panels a [k][6] and b [k][16]: 12 accumulators, 2 loads and 6 broadcasts, which
    /// fills the 16 registers of AVX2.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Multiply6x16(int k, float* a, float* b, float* c, nint ldc)
    {
        float* c1 = c + ldc;
        float* c2 = c1 + ldc;
        float* c3 = c2 + ldc;
        float* c4 = c3 + ldc;
        float* c5 = c4 + ldc;
        Vector256<float> r00 = Vector256.Load(c);
        Vector256<float> r01 = Vector256.Load(c + 8);
        Vector256<float> r10 = Vector256.Load(c1);
        Vector256<float> r11 = Vector256.Load(c1 + 8);
        Vector256<float> r20 = Vector256.Load(c2);
        Vector256<float> r21 = Vector256.Load(c2 + 8);
        Vector256<float> r30 = Vector256.Load(c3);
        Vector256<float> r31 = Vector256.Load(c3 + 8);
        Vector256<float> r40 = Vector256.Load(c4);
        Vector256<float> r41 = Vector256.Load(c4 + 8);
        Vector256<float> r50 = Vector256.Load(c5);
        Vector256<float> r51 = Vector256.Load(c5 + 8);
        for (; k >= 2; k -= 2, a += 12, b += 32)
        {
            Vector256<float> low = Vector256.Load(b);
            Vector256<float> high = Vector256.Load(b + 8);
            Vector256<float> x = Vector256.Create(a[0]);
            r00 = Vector256.FusedMultiplyAdd(x, low, r00);
            r01 = Vector256.FusedMultiplyAdd(x, high, r01);
            x = Vector256.Create(a[1]);
            r10 = Vector256.FusedMultiplyAdd(x, low, r10);
            r11 = Vector256.FusedMultiplyAdd(x, high, r11);
            x = Vector256.Create(a[2]);
            r20 = Vector256.FusedMultiplyAdd(x, low, r20);
            r21 = Vector256.FusedMultiplyAdd(x, high, r21);
            x = Vector256.Create(a[3]);
            r30 = Vector256.FusedMultiplyAdd(x, low, r30);
            r31 = Vector256.FusedMultiplyAdd(x, high, r31);
            x = Vector256.Create(a[4]);
            r40 = Vector256.FusedMultiplyAdd(x, low, r40);
            r41 = Vector256.FusedMultiplyAdd(x, high, r41);
            x = Vector256.Create(a[5]);
            r50 = Vector256.FusedMultiplyAdd(x, low, r50);
            r51 = Vector256.FusedMultiplyAdd(x, high, r51);
            low = Vector256.Load(b + 16);
            high = Vector256.Load(b + 24);
            x = Vector256.Create(a[6]);
            r00 = Vector256.FusedMultiplyAdd(x, low, r00);
            r01 = Vector256.FusedMultiplyAdd(x, high, r01);
            x = Vector256.Create(a[7]);
            r10 = Vector256.FusedMultiplyAdd(x, low, r10);
            r11 = Vector256.FusedMultiplyAdd(x, high, r11);
            x = Vector256.Create(a[8]);
            r20 = Vector256.FusedMultiplyAdd(x, low, r20);
            r21 = Vector256.FusedMultiplyAdd(x, high, r21);
            x = Vector256.Create(a[9]);
            r30 = Vector256.FusedMultiplyAdd(x, low, r30);
            r31 = Vector256.FusedMultiplyAdd(x, high, r31);
            x = Vector256.Create(a[10]);
            r40 = Vector256.FusedMultiplyAdd(x, low, r40);
            r41 = Vector256.FusedMultiplyAdd(x, high, r41);
            x = Vector256.Create(a[11]);
            r50 = Vector256.FusedMultiplyAdd(x, low, r50);
            r51 = Vector256.FusedMultiplyAdd(x, high, r51);
        }

        if (k > 0)
        {
            Vector256<float> low = Vector256.Load(b);
            Vector256<float> high = Vector256.Load(b + 8);
            Vector256<float> x = Vector256.Create(a[0]);
            r00 = Vector256.FusedMultiplyAdd(x, low, r00);
            r01 = Vector256.FusedMultiplyAdd(x, high, r01);
            x = Vector256.Create(a[1]);
            r10 = Vector256.FusedMultiplyAdd(x, low, r10);
            r11 = Vector256.FusedMultiplyAdd(x, high, r11);
            x = Vector256.Create(a[2]);
            r20 = Vector256.FusedMultiplyAdd(x, low, r20);
            r21 = Vector256.FusedMultiplyAdd(x, high, r21);
            x = Vector256.Create(a[3]);
            r30 = Vector256.FusedMultiplyAdd(x, low, r30);
            r31 = Vector256.FusedMultiplyAdd(x, high, r31);
            x = Vector256.Create(a[4]);
            r40 = Vector256.FusedMultiplyAdd(x, low, r40);
            r41 = Vector256.FusedMultiplyAdd(x, high, r41);
            x = Vector256.Create(a[5]);
            r50 = Vector256.FusedMultiplyAdd(x, low, r50);
            r51 = Vector256.FusedMultiplyAdd(x, high, r51);
        }

        r00.Store(c);
        r01.Store(c + 8);
        r10.Store(c1);
        r11.Store(c1 + 8);
        r20.Store(c2);
        r21.Store(c2 + 8);
        r30.Store(c3);
        r31.Store(c3 + 8);
        r40.Store(c4);
        r41.Store(c4 + 8);
        r50.Store(c5);
        r51.Store(c5 + 8);
    }

    /// <summary>The same with c[12, 32], a [k][12] and b [k][32]: 24 accumulators of the 32 registers of AVX-512.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Multiply12x32(int k, float* a, float* b, float* c, nint ldc)
    {
        Vector512<float> r00 = Vector512.Load(c), r01 = Vector512.Load(c + 16);
        Vector512<float> r10 = Vector512.Load(c + ldc), r11 = Vector512.Load(c + ldc + 16);
        Vector512<float> r20 = Vector512.Load(c + 2 * ldc), r21 = Vector512.Load(c + 2 * ldc + 16);
        Vector512<float> r30 = Vector512.Load(c + 3 * ldc), r31 = Vector512.Load(c + 3 * ldc + 16);
        Vector512<float> r40 = Vector512.Load(c + 4 * ldc), r41 = Vector512.Load(c + 4 * ldc + 16);
        Vector512<float> r50 = Vector512.Load(c + 5 * ldc), r51 = Vector512.Load(c + 5 * ldc + 16);
        Vector512<float> r60 = Vector512.Load(c + 6 * ldc), r61 = Vector512.Load(c + 6 * ldc + 16);
        Vector512<float> r70 = Vector512.Load(c + 7 * ldc), r71 = Vector512.Load(c + 7 * ldc + 16);
        Vector512<float> r80 = Vector512.Load(c + 8 * ldc), r81 = Vector512.Load(c + 8 * ldc + 16);
        Vector512<float> r90 = Vector512.Load(c + 9 * ldc), r91 = Vector512.Load(c + 9 * ldc + 16);
        Vector512<float> rA0 = Vector512.Load(c + 10 * ldc), rA1 = Vector512.Load(c + 10 * ldc + 16);
        Vector512<float> rB0 = Vector512.Load(c + 11 * ldc), rB1 = Vector512.Load(c + 11 * ldc + 16);
        for (; k > 0; k--, a += 12, b += 32)
        {
            Vector512<float> low = Vector512.Load(b);
            Vector512<float> high = Vector512.Load(b + 16);
            Vector512<float> x = Vector512.Create(a[0]);
            r00 = Vector512.FusedMultiplyAdd(x, low, r00);
            r01 = Vector512.FusedMultiplyAdd(x, high, r01);
            x = Vector512.Create(a[1]);
            r10 = Vector512.FusedMultiplyAdd(x, low, r10);
            r11 = Vector512.FusedMultiplyAdd(x, high, r11);
            x = Vector512.Create(a[2]);
            r20 = Vector512.FusedMultiplyAdd(x, low, r20);
            r21 = Vector512.FusedMultiplyAdd(x, high, r21);
            x = Vector512.Create(a[3]);
            r30 = Vector512.FusedMultiplyAdd(x, low, r30);
            r31 = Vector512.FusedMultiplyAdd(x, high, r31);
            x = Vector512.Create(a[4]);
            r40 = Vector512.FusedMultiplyAdd(x, low, r40);
            r41 = Vector512.FusedMultiplyAdd(x, high, r41);
            x = Vector512.Create(a[5]);
            r50 = Vector512.FusedMultiplyAdd(x, low, r50);
            r51 = Vector512.FusedMultiplyAdd(x, high, r51);
            x = Vector512.Create(a[6]);
            r60 = Vector512.FusedMultiplyAdd(x, low, r60);
            r61 = Vector512.FusedMultiplyAdd(x, high, r61);
            x = Vector512.Create(a[7]);
            r70 = Vector512.FusedMultiplyAdd(x, low, r70);
            r71 = Vector512.FusedMultiplyAdd(x, high, r71);
            x = Vector512.Create(a[8]);
            r80 = Vector512.FusedMultiplyAdd(x, low, r80);
            r81 = Vector512.FusedMultiplyAdd(x, high, r81);
            x = Vector512.Create(a[9]);
            r90 = Vector512.FusedMultiplyAdd(x, low, r90);
            r91 = Vector512.FusedMultiplyAdd(x, high, r91);
            x = Vector512.Create(a[10]);
            rA0 = Vector512.FusedMultiplyAdd(x, low, rA0);
            rA1 = Vector512.FusedMultiplyAdd(x, high, rA1);
            x = Vector512.Create(a[11]);
            rB0 = Vector512.FusedMultiplyAdd(x, low, rB0);
            rB1 = Vector512.FusedMultiplyAdd(x, high, rB1);
        }

        Store(c, r00, r01);
        Store(c + ldc, r10, r11);
        Store(c + 2 * ldc, r20, r21);
        Store(c + 3 * ldc, r30, r31);
        Store(c + 4 * ldc, r40, r41);
        Store(c + 5 * ldc, r50, r51);
        Store(c + 6 * ldc, r60, r61);
        Store(c + 7 * ldc, r70, r71);
        Store(c + 8 * ldc, r80, r81);
        Store(c + 9 * ldc, r90, r91);
        Store(c + 10 * ldc, rA0, rA1);
        Store(c + 11 * ldc, rB0, rB1);
    }

    /// <summary>
    /// Scores of attention: c[4, 24] = keys · queries, for 4 key rows as they lie (stride <paramref name="ldk"/>) and
    /// queries packed as [d][24].
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Scores4x24(float* keys, nint ldk, float* queries, int d, float* c, nint ldc)
    {
        float* k1 = keys + ldk;
        float* k2 = k1 + ldk;
        float* k3 = k2 + ldk;
        Vector256<float> r00 = default, r01 = default, r02 = default;
        Vector256<float> r10 = default, r11 = default, r12 = default;
        Vector256<float> r20 = default, r21 = default, r22 = default;
        Vector256<float> r30 = default, r31 = default, r32 = default;
        for (nint i = 0; i < d; i++, queries += 24)
        {
            Vector256<float> q0 = Vector256.Load(queries);
            Vector256<float> q1 = Vector256.Load(queries + 8);
            Vector256<float> q2 = Vector256.Load(queries + 16);
            Vector256<float> x = Vector256.Create(keys[i]);
            r00 = Vector256.FusedMultiplyAdd(x, q0, r00);
            r01 = Vector256.FusedMultiplyAdd(x, q1, r01);
            r02 = Vector256.FusedMultiplyAdd(x, q2, r02);
            x = Vector256.Create(k1[i]);
            r10 = Vector256.FusedMultiplyAdd(x, q0, r10);
            r11 = Vector256.FusedMultiplyAdd(x, q1, r11);
            r12 = Vector256.FusedMultiplyAdd(x, q2, r12);
            x = Vector256.Create(k2[i]);
            r20 = Vector256.FusedMultiplyAdd(x, q0, r20);
            r21 = Vector256.FusedMultiplyAdd(x, q1, r21);
            r22 = Vector256.FusedMultiplyAdd(x, q2, r22);
            x = Vector256.Create(k3[i]);
            r30 = Vector256.FusedMultiplyAdd(x, q0, r30);
            r31 = Vector256.FusedMultiplyAdd(x, q1, r31);
            r32 = Vector256.FusedMultiplyAdd(x, q2, r32);
        }

        Store(c, r00, r01, r02);
        Store(c + ldc, r10, r11, r12);
        Store(c + 2 * ldc, r20, r21, r22);
        Store(c + 3 * ldc, r30, r31, r32);
    }

    /// <summary>
    /// Values of attention: o[6, 16] += p · v over <paramref name="k"/> keys; p[key][6] with stride
    /// <paramref name="ldp"/>, v[key][16] with stride <paramref name="ldv"/>.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Accumulate6x16(float* p, nint ldp, float* v, nint ldv, int k, float* o, nint ldo)
    {
        float* o1 = o + ldo;
        float* o2 = o1 + ldo;
        float* o3 = o2 + ldo;
        float* o4 = o3 + ldo;
        float* o5 = o4 + ldo;
        Vector256<float> r00 = Vector256.Load(o), r01 = Vector256.Load(o + 8);
        Vector256<float> r10 = Vector256.Load(o1), r11 = Vector256.Load(o1 + 8);
        Vector256<float> r20 = Vector256.Load(o2), r21 = Vector256.Load(o2 + 8);
        Vector256<float> r30 = Vector256.Load(o3), r31 = Vector256.Load(o3 + 8);
        Vector256<float> r40 = Vector256.Load(o4), r41 = Vector256.Load(o4 + 8);
        Vector256<float> r50 = Vector256.Load(o5), r51 = Vector256.Load(o5 + 8);
        for (; k > 0; k--, p += ldp, v += ldv)
        {
            Vector256<float> low = Vector256.Load(v);
            Vector256<float> high = Vector256.Load(v + 8);
            Vector256<float> x = Vector256.Create(p[0]);
            r00 = Vector256.FusedMultiplyAdd(x, low, r00);
            r01 = Vector256.FusedMultiplyAdd(x, high, r01);
            x = Vector256.Create(p[1]);
            r10 = Vector256.FusedMultiplyAdd(x, low, r10);
            r11 = Vector256.FusedMultiplyAdd(x, high, r11);
            x = Vector256.Create(p[2]);
            r20 = Vector256.FusedMultiplyAdd(x, low, r20);
            r21 = Vector256.FusedMultiplyAdd(x, high, r21);
            x = Vector256.Create(p[3]);
            r30 = Vector256.FusedMultiplyAdd(x, low, r30);
            r31 = Vector256.FusedMultiplyAdd(x, high, r31);
            x = Vector256.Create(p[4]);
            r40 = Vector256.FusedMultiplyAdd(x, low, r40);
            r41 = Vector256.FusedMultiplyAdd(x, high, r41);
            x = Vector256.Create(p[5]);
            r50 = Vector256.FusedMultiplyAdd(x, low, r50);
            r51 = Vector256.FusedMultiplyAdd(x, high, r51);
        }

        r00.Store(o);
        r01.Store(o + 8);
        r10.Store(o1);
        r11.Store(o1 + 8);
        r20.Store(o2);
        r21.Store(o2 + 8);
        r30.Store(o3);
        r31.Store(o3 + 8);
        r40.Store(o4);
        r41.Store(o4 + 8);
        r50.Store(o5);
        r51.Store(o5 + 8);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Store(float* c, Vector256<float> x, Vector256<float> y, Vector256<float> z)
    {
        x.Store(c);
        y.Store(c + 8);
        z.Store(c + 16);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Store(float* c, Vector512<float> x, Vector512<float> y)
    {
        x.Store(c);
        y.Store(c + 16);
    }
}
