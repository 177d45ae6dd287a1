using System.Globalization;
using System.Text.Json;
using System.Text.RegularExpressions;
using ParVts.Cuda.Compilation;

namespace ParVts.Cuda.Tests;

/// <summary>
/// Contract G5: every kernel, on every architecture, in every specialisation, compiles to machine code within
/// kernels/budget.json. Needs NVRTC, no GPU; skipped, by name, where there is none.
/// </summary>
public partial class KernelBudgetTests
{
    private static readonly string s_folder = FindKernels();

    [TestCaseSource(nameof(Cases))]
    public void A_kernel_file_keeps_its_budget(string file, int architecture)
    {
        JsonElement budget = Budget().GetProperty("files").GetProperty(file);
        KernelSource source = Read(file);
        foreach (Dictionary<string, string> definitions in Specialisations(budget.GetProperty("specialisations")))
        {
            string what = $"{file} sm_{architecture} {string.Join(' ', definitions.Select(pair => $"{pair.Key}={pair.Value}"))}";
            CompiledKernel compiled = TestCompiler.Require().Compile(source, new KernelTarget(architecture, definitions));
            Usage[] used = [.. ReadLog(compiled.Log)];
            Assert.That(
                used.Select(usage => usage.Kernel), Is.EquivalentTo(budget.GetProperty("kernels").EnumerateObject().Select(kernel => kernel.Name)), what);
            foreach (Usage usage in used)
            {
                JsonElement allowed = budget.GetProperty("kernels").GetProperty(usage.Kernel);
                int threads = allowed.GetProperty("threads").GetInt32();
                int shared = usage.Shared + Dynamic(allowed, definitions);
                int blocks = Occupancy.Blocks(architecture, threads, usage.Registers, shared);
                TestContext.Out.WriteLine($"{what}: {usage.Kernel} takes {usage.Registers} registers, {shared} bytes of shared memory: {blocks} blocks of {threads} threads");
                Assert.That(usage.Registers, Is.InRange(1, For(allowed.GetProperty("registers"), definitions).GetInt32()), $"{what}: registers of {usage.Kernel}");
                Assert.That(usage.Shared, Is.EqualTo(allowed.GetProperty("shared").GetInt32()), $"{what}: shared memory of {usage.Kernel}");
                Assert.That(usage.Spills, Is.Zero, $"{what}: spills of {usage.Kernel}");
                int promised = For(allowed.GetProperty("blocks"), definitions)[Place(architecture)].GetInt32();
                Assert.That(blocks, Is.AtLeast(promised), $"{what}: blocks of {usage.Kernel} on a multiprocessor");
            }
        }
    }

    // One value, or one for each value of a macro or of several: { "HEAD_DIM=64 GROUP=7": 168 }.
    private static JsonElement For(JsonElement allowed, Dictionary<string, string> definitions) => allowed.ValueKind == JsonValueKind.Object
        ? allowed.EnumerateObject().Single(one => one.Name.Split(' ').All(part => definitions.Any(pair => $"{pair.Key}={pair.Value}" == part))).Value
        : allowed;

    // Bytes of dynamic shared memory: so many, or { "DIM": 144, "GROUP*DIM": 4, "1": 1040 } for 144 * DIM + 4 * GROUP * DIM + 1040.
    private static int Dynamic(JsonElement kernel, Dictionary<string, string> definitions)
    {
        if (!kernel.TryGetProperty("dynamic", out JsonElement dynamic))
            return 0;
        if (dynamic.ValueKind == JsonValueKind.Number)
            return dynamic.GetInt32();
        int Number(string text) => int.Parse(text, CultureInfo.InvariantCulture);
        int Factor(string name) => name switch
        {
            "1" => 1,
            "DIM" => (Number(definitions["HEAD_DIM"]) + 15) / 16 * 16,
            _ => Number(definitions[name]),
        };
        return dynamic.EnumerateObject().Sum(term => term.Name.Split('*').Aggregate(term.Value.GetInt32(), (product, name) => product * Factor(name)));
    }

    private static int Place(int architecture) =>
        Budget().GetProperty("architectures").EnumerateArray().Select(one => one.GetInt32()).ToList().IndexOf(architecture);

    [TestCase(80, 256, 64, 0, 4, Description = "registers: 16 K in each quarter, 2 K a warp")]
    [TestCase(80, 128, 168, 0, 3, Description = "168 registers, and with 169 a warp takes 176")]
    [TestCase(80, 128, 169, 0, 2)]
    [TestCase(80, 32, 16, 0, 32, Description = "blocks")]
    [TestCase(86, 32, 16, 0, 16)]
    [TestCase(89, 1024, 32, 0, 1, Description = "threads: 1536")]
    [TestCase(90, 1024, 32, 0, 2)]
    [TestCase(80, 128, 32, 48 * 1024, 3, Description = "shared memory: 49 KiB of 164 with what the system takes")]
    [TestCase(86, 128, 32, 48 * 1024, 2)]
    [TestCase(90, 128, 32, 48 * 1024, 4)]
    [TestCase(86, 128, 32, 99 * 1024, 1)]
    [TestCase(86, 128, 32, 100 * 1024, 0)]
    public void Blocks_fit_as_the_specification_says(int architecture, int threads, int registers, int shared, int blocks) =>
        Assert.That(Occupancy.Blocks(architecture, threads, registers, shared), Is.EqualTo(blocks));

    [Test]
    public void Every_file_has_a_budget() => Assert.That(
        Budget().GetProperty("files").EnumerateObject().Select(file => file.Name),
        Is.EquivalentTo(Directory.GetFiles(s_folder, "*.cu").Select(Path.GetFileName)));

    [Test]
    public void Kernels_include_only_each_other_and_inline_ptx_is_in_one_file()
    {
        string[] headers = [.. Directory.GetFiles(s_folder, "*.cuh").Select(file => Path.GetFileName(file)!)];
        foreach (string file in Directory.GetFiles(s_folder, "*.cu*"))
        {
            string text = File.ReadAllText(file);
            foreach (Match include in Include().Matches(text))
                Assert.That(headers, Does.Contain(include.Groups["header"].Value), file);
            Assert.That(text.Contains("asm", StringComparison.Ordinal), Is.EqualTo(Path.GetFileName(file) == "ptx.cuh"), $"{file}: inline PTX");
        }
    }

    [Test]
    public void The_log_is_read_as_the_compiler_writes_it()
    {
        const string Source = """
            extern "C" __global__ void __launch_bounds__(1024, 2) spills(float* x, int n)
            {
                float a[64];
                for (int i = 0; i < 64; i++) a[i] = x[i * n];
                for (int j = 0; j < n; j++)
                    for (int i = 0; i < 64; i++) a[i] = a[i] * a[(i * 7 + 3) % 64] + x[j];
                float s = 0; for (int i = 0; i < 64; i++) s += a[i];
                x[threadIdx.x] = s;
            }
            extern "C" __global__ void small(float* x) { __shared__ float y[64]; y[threadIdx.x] = x[threadIdx.x]; __syncthreads(); x[0] = y[63 - threadIdx.x]; }
            """;
        CompiledKernel compiled = TestCompiler.Require().Compile(
            new KernelSource("spills.cu", Source, new Dictionary<string, string>()), new KernelTarget(80, new Dictionary<string, string>()));
        Usage[] used = [.. ReadLog(compiled.Log)];
        Assert.That(used.Single(usage => usage.Kernel == "spills").Spills, Is.Positive, compiled.Log);
        Assert.That(used.Single(usage => usage.Kernel == "spills").Registers, Is.LessThanOrEqualTo(32));
        Assert.That(used.Single(usage => usage.Kernel == "small").Shared, Is.EqualTo(256));
        Assert.That(used.Single(usage => usage.Kernel == "small").Spills, Is.Zero);
    }

    private static IEnumerable<TestCaseData> Cases()
    {
        JsonElement budget = Budget();
        foreach (JsonProperty file in budget.GetProperty("files").EnumerateObject())
        {
            foreach (JsonElement architecture in budget.GetProperty("architectures").EnumerateArray())
                yield return new TestCaseData(file.Name, architecture.GetInt32());
        }
    }

    private static KernelSource Read(string file) => new(
        file,
        File.ReadAllText(Path.Combine(s_folder, file)),
        Directory.GetFiles(s_folder, "*.cuh").ToDictionary(header => Path.GetFileName(header)!, File.ReadAllText));

    private static JsonElement Budget()
    {
        using JsonDocument document = JsonDocument.Parse(File.ReadAllText(Path.Combine(s_folder, "budget.json")));
        return document.RootElement.Clone();
    }

    // Every combination of the macros' values; of each set of macros, where there are several.
    private static IEnumerable<Dictionary<string, string>> Specialisations(JsonElement macros)
    {
        if (macros.ValueKind == JsonValueKind.Array)
            return macros.EnumerateArray().SelectMany(Specialisations);
        IEnumerable<Dictionary<string, string>> all = [[]];
        foreach (JsonProperty macro in macros.EnumerateObject())
            all = [.. all.SelectMany(one => macro.Value.EnumerateArray().Select(value => new Dictionary<string, string>(one) { [macro.Name] = value.ToString() }))];
        return all;
    }

    private static IEnumerable<Usage> ReadLog(string log)
    {
        foreach (Match entry in Entry().Matches(log))
        {
            int Number(string group) => entry.Groups[group].Success ? int.Parse(entry.Groups[group].ValueSpan, CultureInfo.InvariantCulture) : 0;
            yield return new Usage(entry.Groups["kernel"].Value, Number("registers"), Number("shared"), Number("stores") + Number("loads"));
        }
    }

    private static string FindKernels()
    {
        string? folder = AppContext.BaseDirectory;
        while (folder is not null && !File.Exists(Path.Combine(folder, "ParVts.Native.sln")))
            folder = Path.GetDirectoryName(folder);
        return Path.Combine(folder!, "kernels");
    }

    [GeneratedRegex(
        @"Compiling entry function '(?<kernel>\w+)'[^\n]*\n(?:[^\n]*\n)*?\s*\S*\s*\S*\s*\d+ bytes stack frame, (?<stores>\d+) bytes spill stores, (?<loads>\d+) bytes spill loads\n[^\n]*Used (?<registers>\d+) registers(?:[^\n]*?(?<shared>\d+) bytes smem)?",
        RegexOptions.CultureInvariant,
        matchTimeoutMilliseconds: 5000)]
    private static partial Regex Entry();

    [GeneratedRegex(@"#include\s+[""<](?<header>[^"">]+)", RegexOptions.CultureInvariant, matchTimeoutMilliseconds: 5000)]
    private static partial Regex Include();

    private sealed record Usage(string Kernel, int Registers, int Shared, int Spills);
}
