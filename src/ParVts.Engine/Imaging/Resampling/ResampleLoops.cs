using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace ParVts.Engine.Imaging.Resampling;

/// <summary>The inner loops: fixed-point sums, the same bits with and without SIMD.</summary>
internal static class ResampleLoops
{
    private const int Channels = 3;

    /// <summary>One row of the horizontal pass; <paramref name="start"/> is where the row's pixels begin.</summary>
    public static void Row(byte[] pixels, int start, AxisWeights columns, (byte Red, byte Green, byte Blue) background, Span<byte> output)
    {
        Vector128<int> behind = Vector128.Create(background.Red, background.Green, background.Blue, 0);
        ref byte first = ref MemoryMarshal.GetArrayDataReference(pixels);
        for (int i = 0; i < columns.Count; i++)
        {
            ReadOnlySpan<int> weights = columns.Weights(i);
            int at = start + columns.First(i) * Channels;
            Vector128<int> even = Vector128.Create(AxisWeights.Half) + behind * columns.Outside(i);
            Vector128<int> odd = Vector128<int>.Zero;
            int tap = 0;
            // Four bytes are read for each pixel, one more than it has: so the last tap is not read in this way.
            for (; tap < weights.Length - 2; tap += 2, at += 2 * Channels)
            {
                even += Four(ref Unsafe.Add(ref first, at)) * weights[tap];
                odd += Four(ref Unsafe.Add(ref first, at + Channels)) * weights[tap + 1];
            }

            for (; tap < weights.Length; tap++, at += Channels)
                even += Vector128.Create(pixels[at], pixels[at + 1], pixels[at + 2], 0) * weights[tap];
            even += odd;
            output[i * Channels] = ToByte(even[0]);
            output[i * Channels + 1] = ToByte(even[1]);
            output[i * Channels + 2] = ToByte(even[2]);
        }
    }

    /// <summary>What the horizontal pass makes of a row that is all background.</summary>
    public static void ConstantRow(AxisWeights columns, (byte Red, byte Green, byte Blue) background, Span<byte> output)
    {
        for (int i = 0; i < columns.Count; i++)
        {
            int sum = columns.Outside(i);
            foreach (int weight in columns.Weights(i))
                sum += weight;
            output[i * Channels] = ToByte(AxisWeights.Half + background.Red * sum);
            output[i * Channels + 1] = ToByte(AxisWeights.Half + background.Green * sum);
            output[i * Channels + 2] = ToByte(AxisWeights.Half + background.Blue * sum);
        }
    }

    /// <summary>One row of the vertical pass: a weighted sum of rows, the first of which begins at <paramref name="start"/>.</summary>
    public static void Column(byte[] pixels, int start, ReadOnlySpan<int> weights, int outside, ReadOnlySpan<byte> padding, Span<byte> output)
    {
        int stride = output.Length;
        ref byte first = ref MemoryMarshal.GetArrayDataReference(pixels);
        int x = 0;
        if (outside == 0)
        {
            for (; x <= stride - 16; x += 16)
            {
                Vector128<int> a = Vector128.Create(AxisWeights.Half), b = a, c = a, d = a;
                int at = start + x;
                foreach (int weight in weights)
                {
                    Vector128<byte> bytes = Vector128.LoadUnsafe(ref first, (nuint)at);
                    (Vector128<ushort> low, Vector128<ushort> high) = Vector128.Widen(bytes);
                    a += Vector128.WidenLower(low).AsInt32() * weight;
                    b += Vector128.WidenUpper(low).AsInt32() * weight;
                    c += Vector128.WidenLower(high).AsInt32() * weight;
                    d += Vector128.WidenUpper(high).AsInt32() * weight;
                    at += stride;
                }

                ToBytes(a, b, c, d).CopyTo(output[x..]);
            }
        }

        for (; x < stride; x++)
        {
            int sum = AxisWeights.Half + (outside == 0 ? 0 : outside * padding[x]);
            int at = start + x;
            foreach (int weight in weights)
            {
                sum += pixels[at] * weight;
                at += stride;
            }

            output[x] = ToByte(sum);
        }
    }

    private static Vector128<int> Four(ref byte at)
    {
        Vector128<byte> bytes = Vector128.CreateScalarUnsafe(Unsafe.ReadUnaligned<uint>(ref at)).AsByte();
        return Vector128.WidenLower(Vector128.WidenLower(bytes)).AsInt32();
    }

    private static Vector128<byte> ToBytes(Vector128<int> a, Vector128<int> b, Vector128<int> c, Vector128<int> d)
    {
        Vector128<short> low = Vector128.Narrow(Clip(a), Clip(b));
        Vector128<short> high = Vector128.Narrow(Clip(c), Clip(d));
        return Vector128.Narrow(low.AsUInt16(), high.AsUInt16());
    }

    private static Vector128<int> Clip(Vector128<int> sum) =>
        Vector128.Min(Vector128.Max(sum >> AxisWeights.FractionBits, Vector128<int>.Zero), Vector128.Create(255));

    private static byte ToByte(int sum) => (byte)Math.Clamp(sum >> AxisWeights.FractionBits, 0, 255);
}
