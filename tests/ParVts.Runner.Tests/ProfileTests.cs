using System.Diagnostics;
using System.Text;
using System.Text.Json;

namespace ParVts.Runner.Tests;

/// <summary>What 'run --profile' writes, what doctor says of counters, and the report that tools/profile makes.</summary>
public sealed class ProfileTests
{
    [TestCase("cpu")]
    [TestCase("sim")]
    public void TheTraceHasWarmUpAndSteadyAnswers(string device)
    {
        DemoQuestion question = DemoModel.Question("presence");
        string file = Path.Combine(DemoModel.Scratch, $"trace-{device}.json");
        string[] line =
        [
            "run", "--model", DemoModel.Model, "--image", question.Image, "--prompt", question.Text, "--policy", "parvts:keep=36,migrate=1", "--json",
        ];

        // The simulated GPU takes seconds for an answer.
        bool repeats = device == "cpu";
        Outcome outcome = Parvts.Run([.. line, "--device", device, "--profile", file, .. repeats ? (string[])["--warm-up", "1", "--repeat", "2"] : []]);
        if (outcome.Code == 4)
            Assert.Ignore(outcome.Errors);
        using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(file));
        JsonElement notes = document.RootElement.GetProperty("otherData");
        Event[] events = [.. document.RootElement.GetProperty("traceEvents").EnumerateArray().Where(e => e.GetProperty("ph").GetString() == "X").Select(Event.Of)];
        Event steady = events.Single(e => e.Name == "steady");
        Event[] measured = [.. events.Where(e => e.Begin >= steady.Begin && e.End <= steady.End)];
        Event[] before = [.. events.Where(e => e.Begin < steady.Begin)];
        JsonElement json = outcome.Json;
        int[] rows = json.GetProperty("trace").GetProperty("rows_by_layer").Numbers();
        int answers = repeats ? 2 : 1;
        using (Assert.EnterMultipleScope())
        {
            Assert.That(outcome.Errors, Does.Contain($"wrote {file}"));
            Assert.That(json.GetProperty("tokens").Numbers(), Is.EqualTo(Parvts.Run(line).Json.GetProperty("tokens").Numbers()));
            Assert.That(notes.GetProperty("device").GetString(), Is.EqualTo(device));
            Assert.That(notes.GetProperty("policy").GetString(), Does.StartWith("parvts:keep=36,migrate=1"));
            Assert.That(before.Select(e => e.Name), Does.Contain("load").And.Contain("image"));
            Assert.That(before.Count(e => e.Name == "prefill"), Is.EqualTo(repeats ? 1 : 0));
            Assert.That(measured.Count(e => e.Name == "vision"), Is.EqualTo(answers));
            Assert.That(measured.Count(e => e.Name == "project"), Is.EqualTo(answers));
            Assert.That(measured.Count(e => e.Name == "split"), Is.EqualTo(answers));
            Assert.That(measured.Count(e => e.Name == "layer 0 paths" && e.Rows == rows[0]), Is.EqualTo(answers));
            Assert.That(measured.Count(e => e.Name == "layer 1 fuse" && e.Rows == rows[1]), Is.EqualTo(answers));
            Assert.That(measured.Count(e => e.Name == "sample"), Is.EqualTo(answers * json.GetProperty("tokens").GetArrayLength()));
            Assert.That(measured.Count(e => e.Name == "decode"), Is.EqualTo(answers * (json.GetProperty("tokens").GetArrayLength() - 1)));
        }
    }

    // What dotnet-trace does, too, from outside.
    [Test]
    public void TheRuntimesOwnTraceHoldsTheRanges()
    {
        string file = Path.Combine(DemoModel.Scratch, "ranges.nettrace");
        DemoQuestion question = DemoModel.Question("presence");
        var environment = new Dictionary<string, string>
        {
            ["DOTNET_EnableEventPipe"] = "1",
            ["DOTNET_EventPipeConfig"] = "ParVts:FFFFFFFFFFFFFFFF:4",
            ["DOTNET_EventPipeOutputPath"] = file,
        };
        Outcome outcome = Tools.Run(Tools.Require("dotnet"), environment,
        [
            Path.Combine(AppContext.BaseDirectory, "parvts.dll"), "run", "--model", DemoModel.Model, "--image", question.Image, "--prompt", question.Text,
            "--policy", "vtw:layer=1", "--device", "cpu",
        ]);
        Assert.That(outcome.Code, Is.Zero, outcome.Errors);
        byte[] trace = File.ReadAllBytes(file);
        foreach (string name in new[] { "RangeStart", "RangeStop", "load", "vision", "prefill", "layer 1 leave", "decode", "sample" })
            Assert.That(trace.AsSpan().IndexOf(Encoding.Unicode.GetBytes(name + '\0')), Is.Positive, name);
    }

    [TestCase("--repeat", "0")]
    [TestCase("--warm-up", "-1")]
    [TestCase("--repeat", "x")]
    [TestCase("--profile", "no/such/folder/trace.json")]
    public void WrongOptionsAreRefused(string option, string value)
    {
        Outcome outcome = Parvts.Run("run", "--model", DemoModel.Model, "--prompt", "x", option, value);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(outcome.Code, Is.EqualTo(2));
            Assert.That(outcome.Errors, Does.Contain(option).Or.Contain(value));
        }
    }

    [TestCase(null, null, null, "no NVIDIA kernel module")]
    [TestCase("ResmanDebugLevel: 4294967295\n", "CapEff:\t0", null, "does not say")]
    [TestCase("RmProfilingAdminOnly: 0\n", "CapEff:\t0000000000000000\n", true, "every user")]
    [TestCase("EnableMSI: 1\nRmProfilingAdminOnly: 1\n", "CapEff:\t0000000000000000\n", false, "NVreg_RestrictProfilingToAdminUsers=0")]
    [TestCase("RmProfilingAdminOnly: 1\n", "Name:\tparvts\nCapEff:\t000001ffffffffff\n", true, "CAP_SYS_ADMIN")]
    [TestCase("RmProfilingAdminOnly: 1\n", "CapEff:\t0000004000000000\n", null, "CAP_PERFMON")]
    [TestCase("RmProfilingAdminOnly: 1\n", null, false, "--cap-add=SYS_ADMIN")]
    [TestCase("RmProfilingAdminOnly: 1\n", "CapEff:\tnonsense\n", false, "run as root")]
    public void CountersAreJudgedByWhatTheSystemSays(string? parameters, string? status, bool? permitted, string says)
    {
        var judged = CounterPermission.Judge(parameters, status);
        Assert.That(judged.IsPermitted, Is.EqualTo(permitted));
        Assert.That(judged.Explanation, Does.Contain(says));
    }

    [Test]
    public void DoctorTellsOfCountersAndProfilers()
    {
        JsonElement json = Parvts.Run("doctor", "--json").Json;
        JsonElement counters = json.GetProperty("gpu_counters");
        using (Assert.EnterMultipleScope())
        {
            Assert.That(counters.GetProperty("permitted").ValueKind, Is.AnyOf(JsonValueKind.True, JsonValueKind.False, JsonValueKind.Null));
            Assert.That(counters.GetProperty("hint").GetString(), Is.Not.Empty);
            Assert.That(
                json.GetProperty("libraries").EnumerateArray().Select(library => library.GetProperty("name").GetString()),
                Is.SupersetOf((string[])["Nsight Systems", "Nsight Compute"]));
            Assert.That(Parvts.Run("doctor").Output, Does.Contain("GPU counters"));
        }
    }

    [Test]
    public void TheReportCountsWhatItKnows()
    {
        Outcome outcome = Tools.RunPython(Tools.Find("profile/test_report.py"));
        Assert.That(outcome.Code, Is.Zero, outcome.Errors);
        Assert.That(outcome.Errors, Does.Match("Ran [1-9][0-9]* tests"));
    }

    [Test]
    public void TheReportReadsTheRunnersOwnFile()
    {
        string trace = Path.Combine(DemoModel.Scratch, "report.json");
        string run = Path.Combine(DemoModel.Scratch, "report-run.json");
        DemoQuestion question = DemoModel.Question("presence");
        Outcome answer = Parvts.Run(
            "run", "--model", DemoModel.Model, "--image", question.Image, "--prompt", question.Text, "--device", "cpu", "--json", "--profile", trace);
        File.WriteAllText(run, answer.Output);
        Outcome report = Tools.RunPython(Tools.Find("profile/report.py"), trace, "--run", run);
        int layers = answer.Json.GetProperty("trace").GetProperty("rows_by_layer").GetArrayLength();
        Assert.That(report.Code, Is.Zero, report.Errors);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(report.Output, Does.Match(@"\| prefill \| 1 \|").Or.Match(@"\|[\s\u00a0]*prefill \| 1 \|"));
            for (int layer = 0; layer < layers; layer++)
                Assert.That(report.Output, Does.Match($@"layer {layer} \| 1 \| \d+ \| [0-9.]+ \| - \| [0-9.]+ \| [0-9.]+ \| - \|"));
        }
    }

    private sealed record Event(string Name, double Begin, double End, long Rows)
    {
        public static Event Of(JsonElement json) => new(
            json.GetProperty("name").GetString()!,
            json.GetProperty("ts").GetDouble(),
            json.GetProperty("ts").GetDouble() + json.GetProperty("dur").GetDouble(),
            json.GetProperty("args").GetProperty("rows").GetInt64());
    }
}

/// <summary>The scripts in tools, and the programs that they need; where one is missing the calling test is skipped, by name.</summary>
internal static class Tools
{
    private const int TimeLimitMilliseconds = 300_000;

    /// <summary>A file in tools.</summary>
    public static string Find(string relative)
    {
        string path = Path.Combine(TestData.Root, "tools", relative);
        if (!File.Exists(path))
            Assert.Ignore($"tools/{relative} is not here");
        return path;
    }

    /// <summary>Runs a script of Python's.</summary>
    public static Outcome RunPython(params string[] arguments) => Run(Require("python3"), new Dictionary<string, string>(), arguments);

    /// <summary>The place of a program in PATH.</summary>
    public static string? FindProgram(string name) => (Environment.GetEnvironmentVariable("PATH") ?? "").Split(Path.PathSeparator)
        .Select(folder => Path.Combine(folder, name)).FirstOrDefault(File.Exists);

    /// <summary>The same; without it the test is skipped.</summary>
    public static string Require(string name)
    {
        string? found = FindProgram(name);
        if (found is null)
            Assert.Ignore($"there is no {name} in PATH");
        return found!;
    }

    /// <summary>Runs a program to its end.</summary>
    public static Outcome Run(string program, IReadOnlyDictionary<string, string> environment, params string[] arguments) =>
        RunIn(Environment.CurrentDirectory, program, environment, arguments);

    /// <summary>The same in a folder.</summary>
    public static Outcome RunIn(string folder, string program, IReadOnlyDictionary<string, string> environment, params string[] arguments)
    {
        var start = new ProcessStartInfo(program, arguments)
        {
            UseShellExecute = false, RedirectStandardOutput = true, RedirectStandardError = true, WorkingDirectory = folder,
        };
        foreach ((string name, string value) in environment)
            start.Environment[name] = value;
        using Process process = Process.Start(start)!;
        Task<string> errors = process.StandardError.ReadToEndAsync();
        using var output = new MemoryStream();
        Task copying = process.StandardOutput.BaseStream.CopyToAsync(output);
        if (!process.WaitForExit(TimeLimitMilliseconds))
        {
            process.Kill(entireProcessTree: true);
            Assert.Fail($"'{program} {string.Join(' ', arguments)}' did not end");
        }

        copying.Wait();
        return new Outcome(process.ExitCode, output.ToArray(), errors.Result);
    }
}
