using System.Globalization;
using System.Text.RegularExpressions;
using ParVts.Cuda;
using ParVts.Engine.Compute;
using ParVts.Engine.Compute.Cuda;
using ParVts.Engine.Formats;
using ParVts.Engine.Tests.Compute;
using ParVts.GpuSim;

namespace ParVts.Gpu.Tests;

/// <summary>
/// What every kernel moves, counted by the simulated GPU at a shape of real models: the sectors that it touches and those that
/// its warps ask for, over the bytes that it must move, and passes through shared memory for the sake of bank conflicts. The
/// kernel's header and docs/kernels.md say the same figures, and are held to it.
/// </summary>
internal sealed partial class TrafficTests : DeviceTest
{
    private const double Spare = 1.05;
    private const double Rounding = 0.02;
    private const TensorType F32 = TensorType.F32, Bf16 = TensorType.BF16;

    private static readonly string s_page = ReadPage();

    [TestCaseSource(nameof(Cases))]
    public void A_kernel_moves_what_its_header_says(Case one)
    {
        if (Gpu.Sim is null)
            Assert.Ignore("a real GPU does not count what it executes");
        Gpu.Sim!.Gpu.CountMemory = true;
        long needed;
        try
        {
            needed = one.Run(this);
            Gpu.Device.Download(At(Integers(0)), new int[1].AsSpan());
        }
        finally
        {
            Gpu.Sim.Gpu.CountMemory = false;
        }

        LaunchCounts counts = Gpu.Sim.Counters.Kernels[one.Kernel].Last;
        var measured = new Figures(
            (double)(counts.Loaded.DistinctBytes + counts.Stored.DistinctBytes) / needed,
            32.0 * (counts.Loaded.Sectors + counts.Stored.Sectors) / needed,
            counts.Shared.Conflicts == 0 ? 0 : 100.0 * counts.Shared.Conflicts / (counts.Shared.Passes + counts.Shared.Conflicts));
        TestContext.Out.WriteLine($"{one.File} // {one.Kernel}, {one.Shape}: {measured}");
        TestContext.Out.WriteLine($"loaded {counts.Loaded}, stored {counts.Stored}, needed {needed}; {counts.Shared} {string.Join(' ', counts.ConflictsByLine)}");

        Assert.That(measured.Moved, Is.InRange(1 - Rounding, one.Most), "bytes moved over bytes that must move");
        if (one.FreeOfConflicts)
            Assert.That(counts.Shared.Conflicts, Is.Zero, string.Join(' ', counts.ConflictsByLine));
        Holds($"the header of {one.File}", KernelSources.Get(one.File).Text, $"{one.Kernel}, {one.Shape}: ", measured);
        Holds("docs/kernels.md", s_page, $"| `{one.Kernel}` | {one.Shape} | ", measured);
    }

    [Test]
    public void Every_kernel_is_counted()
    {
        string[] kernels = [.. KernelSources.Files.SelectMany(file => Entry().Matches(KernelSources.Get(file).Text).Select(match => match.Groups["name"].Value))];
        Assert.That(kernels, Has.Length.GreaterThan(25));
        Assert.That(Cases().Select(one => one.Kernel).Distinct(), Is.SupersetOf(kernels.Where(name => name != "NAME")));
    }

    // The text says the figures of this kernel and shape, to the second place.
    private static void Holds(string where, string text, string place, in Figures measured)
    {
        Match said = Regex.Match(
            text, Regex.Escape(place) + @"(moved )?(?<moved>[\d.]+)(, asked | \| )(?<asked>[\d.]+)(, conflicts | \| )(?<conflicts>[\d.]+) %",
            RegexOptions.None, TimeSpan.FromSeconds(5));
        Assert.That(said.Success, $"{where} does not say: {place}{measured}");
        double Number(string group) => double.Parse(said.Groups[group].ValueSpan, CultureInfo.InvariantCulture);
        Assert.That(Number("moved"), Is.EqualTo(measured.Moved).Within(Rounding), $"{where}, {place}moved");
        Assert.That(Number("asked"), Is.EqualTo(measured.Asked).Within(Rounding * Math.Max(1, measured.Asked)), $"{where}, {place}asked");
        Assert.That(Number("conflicts"), Is.EqualTo(measured.Conflicts).Within(1.0), $"{where}, {place}conflicts");
    }

    private static string ReadPage()
    {
        using var reader = new StreamReader(typeof(TrafficTests).Assembly.GetManifestResourceStream("kernels.md")!);
        return reader.ReadToEnd();
    }

    [GeneratedRegex(@"extern ""C"" __global__ void __launch_bounds__\([^)]*\) (?<name>\w+)\(|^MATMUL\((?<name>\w+),", RegexOptions.Multiline, matchTimeoutMilliseconds: 5000)]
    private static partial Regex Entry();

    /// <summary>A launch: what it must move, and what it may move beyond that.</summary>
    /// <param name="File">The kernel's file.</param>
    /// <param name="Kernel">Its entry.</param>
    /// <param name="Shape">In words, as header and page have them.</param>
    /// <param name="Run">Launches it; returns the bytes that must move.</param>
    /// <param name="Most">Bytes moved over bytes that must move, at most.</param>
    /// <param name="FreeOfConflicts">No access meets a bank conflict. Else, histograms do, as the data have it.</param>
    internal sealed record Case(string File, string Kernel, string Shape, Func<TrafficTests, long> Run, double Most = Spare, bool FreeOfConflicts = true)
    {
        public override string ToString() => $"{Kernel}, {Shape}";
    }

    private readonly record struct Figures(double Moved, double Asked, double Conflicts)
    {
        public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"moved {Moved:F2}, asked {Asked:F2}, conflicts {Conflicts:F0} %");
    }
}
