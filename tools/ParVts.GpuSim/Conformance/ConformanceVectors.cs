using System.Runtime.InteropServices;
using ParVts.Cuda;
using ParVts.Cuda.Compilation;

namespace ParVts.GpuSim.Conformance;

/// <summary>How near two GPUs' answers must be: |x − y| ≤ Relative · max(Floor, |y|). 0: the same bits.</summary>
/// <param name="Relative">The share.</param>
/// <param name="Floor">Below it the difference counts as it is.</param>
public readonly record struct ConformanceRule(double Relative, double Floor = 0)
{
    /// <summary>True where <paramref name="x"/> is near enough to <paramref name="y"/>.</summary>
    public bool Holds(uint x, uint y)
    {
        if (x == y)
            return true;
        double a = BitConverter.UInt32BitsToSingle(x), b = BitConverter.UInt32BitsToSingle(y);
        if (Relative == 0 || double.IsInfinity(a) || double.IsInfinity(b))
            return false;
        return (double.IsNaN(a) && double.IsNaN(b)) || Math.Abs(a - b) <= Relative * Math.Max(Floor, Math.Abs(b));
    }
}

/// <summary>A kernel of conformance.cu, what it is given, and how near answers must be.</summary>
internal sealed record ConformanceCase(string Name, string Kernel, uint[] Input, int OutputWords, ConformanceRule Rule);

/// <summary>
/// Single instructions with fixed operands (contract G3), run through a driver: the real one, whose answers are recorded, or the
/// simulated one, which is held to them.
/// </summary>
public static class ConformanceVectors
{
    private const int Lanes = 32;

    // What the PTX manual allows ex2.approx, twice: two answers may lie on either side.
    private static readonly ConformanceRule s_approximate = new(Math.ScaleB(1, -21), Math.ScaleB(1, -126));

    // Seventeen terms below 1: the hardware may cut each off at 24 bits of the largest.
    private static readonly ConformanceRule s_summed = new(Math.ScaleB(1, -18), 1);

    internal static IReadOnlyList<ConformanceCase> Cases { get; } = MakeCases();

    /// <summary>How near answers to a case must be; null where there is no such case.</summary>
    public static ConformanceRule? RuleOf(string name) => Cases.FirstOrDefault(one => one.Name == name)?.Rule;

    /// <summary>Runs every case.</summary>
    /// <param name="context">The GPU.</param>
    /// <param name="compiler">Compiles the kernels.</param>
    /// <param name="ptxOnly">For a driver that takes no machine code.</param>
    /// <returns>The words that each case gave, by its name.</returns>
    public static IReadOnlyDictionary<string, uint[]> Run(CudaContext context, KernelCompiler compiler, bool ptxOnly = false)
    {
        var target = new KernelTarget(context.Device.Architecture, new Dictionary<string, string>(), PtxOnly: ptxOnly);
        CompiledKernel compiled = compiler.Compile(new KernelSource("conformance.cu", Source(), new Dictionary<string, string>()), target);
        using var module = new CudaModule(context, compiled);
        using var stream = new CudaStream(context);
        return Cases.ToDictionary(one => one.Name, one => Run(context, module, stream, one));
    }

    private static uint[] Run(CudaContext context, CudaModule module, CudaStream stream, ConformanceCase one)
    {
        using var input = new DeviceMemory(context, one.Input.Length * sizeof(uint));
        using var output = new DeviceMemory(context, one.OutputWords * sizeof(uint));
        uint[] words = new uint[one.OutputWords];
        stream.Upload(MemoryMarshal.AsBytes<uint>(one.Input), input.Address);
        module.GetKernel(one.Kernel).Launch(
            stream, new LaunchShape(1, 1, 1, Lanes), new Arguments(input.Address, output.Address, one.Input.Length));
        stream.Download(output.Address, MemoryMarshal.AsBytes(words.AsSpan()));
        stream.Synchronize();
        return words;
    }

    private static string Source()
    {
        using Stream stream = typeof(ConformanceVectors).Assembly.GetManifestResourceStream("conformance.cu")!;
        using var reader = new StreamReader(stream);
        return reader.ReadToEnd();
    }

    private static List<ConformanceCase> MakeCases()
    {
        var random = new Random(17);
        uint[] exponents = [.. Special(), .. Floats(random, 1024, x => (x * 280) - 150)];
        uint[] wide = [.. Special(), .. Ties(), .. Enumerable.Range(0, 1024).Select(_ => (uint)random.NextInt64(1L << 32)).Where(IsNumber)];
        uint[] positive = [.. wide.Select(bits => bits & 0x7FFF_FFFF)];
        uint[] halves = [.. Enumerable.Range(0, 1 << 16).Where(bits => (bits & 0x7FFF) <= 0x7C00 && (bits % 17 == 0 || (bits & 0x3FF) < 2)).Select(bits => (uint)bits)];
        uint[] tile = [.. Enumerable.Range(0, 4 * Lanes).Select(word => (uint)((2 * word) | (((2 * word) + 1) << 16)))];
        var cases = new List<ConformanceCase>
        {
            new("ex2.approx.ftz", "ex2_ftz", exponents, exponents.Length, s_approximate),
            new("ex2.approx", "ex2", exponents, exponents.Length, s_approximate),
            new("rcp.rn", "reciprocal", wide, wide.Length, default),
            new("sqrt.rn", "root", positive, positive.Length, default),
            new("cvt.rn.bf16.f32", "to_bf16", wide, wide.Length, default),
            new("cvt.rn.f16.f32", "to_f16", wide, wide.Length, default),
            new("cvt.rn.bf16x2.f32", "to_bf16_pairs", wide, wide.Length / 2, default),
            new("cvt.rn.f16x2.f32", "to_f16_pairs", wide, wide.Length / 2, default),
            new("cvt.f32.f16", "from_f16", halves, halves.Length, default),
        };
        foreach (string form in (string[])["1", "2", "4", "2_transposed", "4_transposed"])
            cases.Add(new ConformanceCase($"ldmatrix x{form.Replace('_', ' ')}", $"load_{form}", tile, 4 * Lanes, default));
        foreach (string kernel in (string[])["product", "short_product"])
        {
            string shape = kernel == "product" ? "m16n8k16" : "m16n8k8";
            foreach (bool bfloat in (bool[])[true, false])
            {
                string type = bfloat ? "bf16" : "f16";

                // Small whole numbers give the same sum in every order: only the layout shows.
                cases.Add(new ConformanceCase(
                    $"mma.{shape} {type} layout", $"{kernel}_{type}", Fragments(bfloat, () => random.Next(-8, 9)), 4 * Lanes, default));
                cases.Add(new ConformanceCase(
                    $"mma.{shape} {type} sums", $"{kernel}_{type}", Fragments(bfloat, () => (random.NextSingle() * 2) - 1), 4 * Lanes, s_summed));
            }
        }

        return cases;
    }

    // Which NaN comes back is nobody's promise.
    private static bool IsNumber(uint bits) => (bits & 0x7FFF_FFFF) <= 0x7F80_0000;

    // Zeros, the smallest and largest of their kind, infinities.
    private static uint[] Special()
    {
        float[] values =
        [
            0f, 1f, 2f, 0.5f, 1e-45f, 1.1754942e-38f, 1.17549435e-38f, float.MaxValue, float.PositiveInfinity, 65504f, 65519.996f, 65520f, 65536f,
            5.9604645e-8f, 2.9802322e-8f, 2.9802326e-8f, 6.097555e-5f, 6.1035156e-5f, 126f, 127f, 128f, 149f, 150f,
        ];
        return [.. values.SelectMany(value => (uint[])[BitConverter.SingleToUInt32Bits(value), BitConverter.SingleToUInt32Bits(-value)])];
    }

    // Half way between two 16-bit numbers, and one float on either side.
    private static IEnumerable<uint> Ties()
    {
        for (uint even = 0; even < 8; even++)
        {
            for (uint off = 0; off < 3; off++)
            {
                yield return 0x3F80_0000 + (even << 16) + 0x7FFF + off; // bf16
                yield return 0x3F80_0000 + (even << 13) + 0x0FFF + off; // f16
                yield return 0x3780_0000 + (even << 15) + 0x3FFF + off; // f16, subnormal
            }
        }
    }

    private static uint[] Floats(Random random, int count, Func<float, float> value) =>
        [.. Enumerable.Range(0, count).Select(_ => BitConverter.SingleToUInt32Bits(value(random.NextSingle())))];

    private static uint[] Fragments(bool bfloat, Func<float> next)
    {
        uint[] words = new uint[10 * Lanes];
        for (int i = 0; i < words.Length; i++)
            words[i] = i % 10 < 6 ? Half(bfloat, next()) | (Half(bfloat, next()) << 16) : BitConverter.SingleToUInt32Bits(next());
        return words;
    }

    private static uint Half(bool bfloat, float x) => bfloat ? BitConverter.SingleToUInt32Bits(x) >> 16 : BitConverter.HalfToUInt16Bits((Half)x);

    private readonly record struct Arguments(ulong In, ulong Out, int N);
}
