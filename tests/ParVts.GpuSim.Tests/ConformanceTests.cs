using ParVts.Cuda;
using ParVts.Cuda.Tests;
using ParVts.GpuSim.Conformance;
using ParVts.GpuSim.Driver;

namespace ParVts.GpuSim.Tests;

/// <summary>The simulated GPU against what real ones answered (contract G3); tools/gpu-bundle records it.</summary>
internal sealed class ConformanceTests
{
    private const string Pattern = "conformance-*.json";

    private static readonly Lazy<IReadOnlyDictionary<string, uint[]>> s_answers = new(() =>
    {
        using var sim = new SimDriver();
        using var context = new CudaContext(sim.Api, CudaDeviceInfo.All(sim.Api)[0]);
        return ConformanceVectors.Run(context, TestCompiler.Require(), ptxOnly: true);
    });

    [Test]
    public void AnswersLikeEveryGpuThatWasRecorded()
    {
        string folder = Path.Combine(Nvrtc.Root, "docs", "measurements");
        TestCompiler.Require();
        string[] files = Directory.Exists(folder) ? Directory.GetFiles(folder, Pattern) : [];
        if (files.Length == 0)
            Assert.Ignore($"no GPU has been recorded yet: there is no docs/measurements/{Pattern}");
        foreach (string file in files)
            Assert.That(ConformanceRecord.Read(file).Differences(s_answers.Value), Is.Empty, file);
    }

    /// <summary>Products of small whole numbers: word 4l + r of a product is element (l / 4 + 8 (r / 2), 2 (l % 4) + r % 2).</summary>
    [TestCase("mma.m16n8k16 bf16 layout")]
    [TestCase("mma.m16n8k16 f16 layout")]
    [TestCase("mma.m16n8k8 bf16 layout")]
    [TestCase("mma.m16n8k8 f16 layout")]
    public void LayoutIsTheManuals(string name)
    {
        TestCompiler.Require();
        uint[] words = ConformanceVectors.Cases.Single(one => one.Name == name).Input;
        bool shallow = name.Contains("k8 ", StringComparison.Ordinal);
        float Half(uint bits) => name.Contains("bf16", StringComparison.Ordinal)
            ? BitConverter.UInt32BitsToSingle(bits << 16)
            : (float)BitConverter.UInt16BitsToHalf((ushort)bits);
        float Word(int lane, int word, int upper) => Half(words[(10 * lane) + word] >> (16 * upper) & 0xFFFF);
        float A(int row, int k) => Word((4 * (row % 8)) + (k % 8 / 2), (row / 8) + (2 * (k / 8)), k % 2);
        float B(int k, int column) => Word((4 * column) + (k % 8 / 2), 4 + (k / 8), k % 2);
        for (int i = 0; i < 128; i++)
        {
            int lane = i / 4, row = (lane / 4) + (8 * (i % 4 / 2)), column = (2 * (lane % 4)) + (i % 2);
            float expected = BitConverter.UInt32BitsToSingle(words[(10 * lane) + 6 + (i % 4)])
                + Enumerable.Range(0, shallow ? 8 : 16).Sum(k => A(row, k) * B(k, column));
            Assert.That(BitConverter.UInt32BitsToSingle(s_answers.Value[name][i]), Is.EqualTo(expected), $"({row}, {column})");
        }
    }

    [Test]
    public void RoundsAsDotNetDoes()
    {
        TestCompiler.Require();
        uint[] input = ConformanceVectors.Cases.Single(one => one.Name == "cvt.rn.f16.f32").Input;
        IEnumerable<uint> expected = input.Select(bits => (uint)BitConverter.HalfToUInt16Bits((Half)BitConverter.UInt32BitsToSingle(bits)));
        Assert.That(s_answers.Value["cvt.rn.f16.f32"], Is.EqualTo(expected));
    }

    [TestCase("ldmatrix x4")]
    [TestCase("mma.m16n8k16 bf16 layout")]
    [TestCase("mma.m16n8k8 f16 sums")]
    [TestCase("ex2.approx.ftz")]
    [TestCase("cvt.rn.bf16.f32")]
    public void AnotherAnswerIsNoticed(string name)
    {
        TestCompiler.Require();
        var record = new ConformanceRecord("the simulator", 80, "", s_answers.Value);
        Assert.That(record.Differences(s_answers.Value), Is.Empty);
        uint[] off = [.. s_answers.Value[name]];
        int place = Array.FindIndex(off, word => word is > 0x100 and < 0x7000_0000);
        off[place] += name.Contains("sums", StringComparison.Ordinal) ? 0x1000u : 16u;
        var others = new Dictionary<string, uint[]>(s_answers.Value) { [name] = off };
        Assert.That(record.Differences(others).Single(), Does.StartWith($"{name}: 1 of"));
    }

    [Test]
    public void RecordsAreReadAsTheyWereWritten()
    {
        TestCompiler.Require();
        string file = Path.GetTempFileName();
        try
        {
            new ConformanceRecord("a GPU", 90, "12.8", s_answers.Value).Write(file);
            ConformanceRecord read = ConformanceRecord.Read(file);
            Assert.That((read.Gpu, read.Architecture, read.Nvrtc), Is.EqualTo(("a GPU", 90, "12.8")));
            Assert.That(read.Differences(s_answers.Value), Is.Empty);
            File.WriteAllText(file, "{\"gpu\": 3}");
            Assert.That(() => ConformanceRecord.Read(file), Throws.TypeOf<InvalidDataException>());
        }
        finally
        {
            File.Delete(file);
        }
    }
}
