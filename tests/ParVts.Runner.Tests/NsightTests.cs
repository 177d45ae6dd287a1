using System.Globalization;
using System.Text.RegularExpressions;

namespace ParVts.Runner.Tests;

/// <summary>
/// The ranges as Nsight Systems itself records and reads them: with the nsys that PARVTS_NSYS names, the one in PATH, or what
/// tools/profile/get-nsys.sh has unpacked. It needs no GPU. Where there is none the tests are skipped, by name.
/// </summary>
public sealed partial class NsightTests
{
    private const string Policy = "parvts:keep=36,migrate=1";

    [TestCase("cpu")]
    [TestCase("sim")]
    public void NsysSeesEveryPhaseAndLayer(string device)
    {
        string sqlite = Record("run", device, "--max-tokens", "3", "--ignore-eos");
        Range[] ranges = Ranges(sqlite);
        int layers = ranges.Count(range => range.Path.Contains("prefill", StringComparison.Ordinal) && range.Name.StartsWith("layer ", StringComparison.Ordinal));
        using (Assert.EnterMultipleScope())
        {
            Assert.That(ranges.Select(range => range.Path), Is.SupersetOf((string[])
            [
                "load", "image", "steady", "steady/vision", "steady/vision/block 0", "steady/project", "steady/prefill", "steady/prefill/policy",
                "steady/prefill/split", "steady/prefill/layer 0 paths", "steady/prefill/layer 1 fuse", "steady/prefill/logits", "steady/sample",
                "steady/decode", "steady/decode/layer 0",
            ]));
            Assert.That(layers, Is.EqualTo(ranges.Count(range => range.Name.StartsWith("policy ", StringComparison.Ordinal))).And.GreaterThan(2));
            Assert.That(ranges.Single(range => range.Path == "steady/decode").Times, Is.EqualTo(2));
            Assert.That(ranges.Single(range => range.Path == "steady/sample").Times, Is.EqualTo(3));
            Assert.That(Rows("steady/prefill/layer 0 paths"), Is.GreaterThan(Rows("steady/prefill/layer 1 fuse")));
        }

        int Rows(string path) => ranges.Single(range => range.Path == path).Rows;
    }

    [Test]
    public void NsysStatsListsThem()
    {
        string nsys = RequireNsys();
        string sqlite = Record("run", "cpu", "--max-tokens", "2");

        // The report has one name in versions before 2023, and another since.
        Outcome stats = Tools.Run(nsys, NoEnvironment, "stats", "--report", "nvtxppsum", "--format", "csv", sqlite);
        if (!stats.Output.Contains("prefill", StringComparison.Ordinal))
            stats = Tools.Run(nsys, NoEnvironment, "stats", "--report", "nvtx_pushpop_sum", "--format", "csv", sqlite);
        foreach (string name in new[] { "load", "vision", "project", "prefill", "layer 0 paths", "layer 1 fuse", "decode", "sample" })
            Assert.That(stats.Output, Does.Match($"(?m)[:,]{name}(,|$)"), stats.Errors);
    }

    [Test]
    public void ThePresetsRecordTheSteadyPartAlone()
    {
        Range[] ranges = Ranges(Record("parvts", "cpu"));
        using (Assert.EnterMultipleScope())
        {
            Assert.That(ranges.Select(range => range.Name), Does.Not.Contain("load").And.Not.Contain("warm up"));
            Assert.That(ranges.Single(range => range.Name == "prefill").Times, Is.EqualTo(5));
            Assert.That(ranges.Single(range => range.Name == "layer 0 paths").Times, Is.EqualTo(5));
        }
    }

    private static readonly Dictionary<string, string> NoEnvironment = [];

    private static string RequireNsys()
    {
        string own = Path.Combine(
            Environment.GetEnvironmentVariable("PARVTS_NSIGHT") ?? Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".cache/parvts/nsight-systems"),
            "usr/lib/x86_64-linux-gnu/nsight-systems/target-linux-x64/nsys");
        string? nsys = Environment.GetEnvironmentVariable("PARVTS_NSYS") ?? Tools.FindProgram("nsys") ?? (File.Exists(own) ? own : null);
        if (nsys is null || !File.Exists(nsys))
            Assert.Ignore("there is no nsys: PARVTS_NSYS=FILE names one, and tools/profile/get-nsys.sh fetches Debian's (172 MB)");
        return nsys!;
    }

    // Through the script that the documentation names; gives the exported file.
    private static string Record(string preset, string device, params string[] options)
    {
        string nsys = RequireNsys();
        Tools.Require("python3");
        DemoQuestion question = DemoModel.Question("presence");
        string place = Path.Combine(DemoModel.Scratch, $"nsys-{preset}-{device}-{options.Length}");
        var environment = new Dictionary<string, string> { ["PARVTS"] = Path.Combine(AppContext.BaseDirectory, "parvts.dll") };
        Outcome outcome = Tools.Run(Tools.Require("bash"), environment,
        [
            Tools.Find("profile/nsys.sh"), preset, "--nsys", nsys, "--out", place, "--", "--model", DemoModel.Model, "--image", question.Image,
            "--prompt", question.Text, "--policy", Policy, "--device", device, .. options,
        ]);
        if (device == "sim" && outcome.Errors.Contains("NVRTC", StringComparison.Ordinal) && outcome.Code != 0)
            Assert.Ignore(outcome.Errors);
        Assert.That(outcome.Code, Is.Zero, outcome.Errors + outcome.Output);
        return place + ".sqlite";
    }

    // The report's lines, as paths: "steady/prefill/layer 0 paths".
    private static Range[] Ranges(string sqlite)
    {
        Outcome report = Tools.RunPython(Tools.Find("profile/report.py"), sqlite, "--csv", "--all");
        Assert.That(report.Code, Is.Zero, report.Errors);
        var around = new Stack<string>();
        var ranges = new List<Range>();
        foreach (Match line in Line().Matches(report.Output))
        {
            while (around.Count > line.Groups["indent"].Length / 2)
                around.Pop();
            around.Push(line.Groups["name"].Value);
            ranges.Add(new Range(
                line.Groups["name"].Value, string.Join('/', around.Reverse()), Number(line.Groups["times"].Value), Number(line.Groups["rows"].Value)));
        }

        return [.. ranges];
    }

    private static int Number(string text) => int.Parse(text, CultureInfo.InvariantCulture);

    [GeneratedRegex("^(?<indent> *)(?<name>[a-z0-9 ]*?),(?<times>[0-9]+),(?<rows>[0-9]+)", RegexOptions.Multiline | RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex Line();

    private sealed record Range(string Name, string Path, int Times, int Rows);
}
