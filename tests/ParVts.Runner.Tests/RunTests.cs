using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text.Json;

namespace ParVts.Runner.Tests;

public sealed partial class RunTests
{
    private const int Interrupt = 2;
    private const int Terminate = 15;

    [TestCase("presence")]
    [TestCase("count")]
    [TestCase("color")]
    public void AnswersAsTheReferenceDoes(string kind)
    {
        DemoQuestion question = DemoModel.Question(kind);
        JsonElement json = Ask(question, "--json").Json;
        using (Assert.EnterMultipleScope())
        {
            Assert.That(json.GetProperty("text").GetString()!.Trim(), Is.EqualTo(question.Reference));
            Assert.That(json.GetProperty("tokens").Numbers(), Is.EqualTo(question.ReferenceTokens));
            Assert.That(json.GetProperty("finish").GetString(), Is.EqualTo("stop"));
        }
    }

    [Test]
    public void JsonHasEveryField()
    {
        DemoQuestion question = DemoModel.Question("count");
        Outcome outcome = Ask(question, "--json");
        JsonElement json = outcome.Json;
        JsonElement config = Parvts.Run("inspect", "--model", DemoModel.Model, "--json").Json.GetProperty("config");
        int layers = config.GetProperty("text").GetProperty("layers").GetInt32();
        int visual = config.GetProperty("visual_tokens_per_image").GetInt32();
        int prompt = json.GetProperty("prompt_tokens").GetInt32();
        JsonElement trace = json.GetProperty("trace");
        using (Assert.EnterMultipleScope())
        {
            Assert.That(outcome.Errors, Is.Empty);
            Assert.That(json.GetProperty("device").GetString(), Is.Not.Empty);
            Assert.That(json.GetProperty("policy").GetString(), Is.EqualTo("dense"));
            Assert.That(json.GetProperty("visual_tokens").GetInt32(), Is.EqualTo(visual));
            AssertNumbers(json.GetProperty("times_ms"), "load", "image", "vision", "prefill", "first_token", "total");
            Assert.That(json.GetProperty("times_ms").GetProperty("decode_per_token").GetDouble(), Is.GreaterThanOrEqualTo(0));
            AssertNumbers(json.GetProperty("memory_bytes"), "weights", "kv", "workspace", "peak_process");
            AssertNumbers(trace, "prefix", "visual", "text", "flops", "flops_dense", "pairs_visual");
            Assert.That(trace.GetProperty("visual").GetInt32(), Is.EqualTo(visual));
            Assert.That(
                trace.GetProperty("prefix").GetInt32() + visual + trace.GetProperty("text").GetInt32(), Is.EqualTo(prompt));
            foreach (string name in new[] { "rows_by_layer", "keys_by_layer", "kv_rows_by_layer" })
                Assert.That(trace.GetProperty(name).Numbers(), Is.EqualTo(Enumerable.Repeat(prompt, layers)), name);
            Assert.That(trace.GetProperty("events").GetArrayLength(), Is.Zero);
        }
    }

    [Test]
    public void TextGoesToStandardOutputAndFiguresToStandardError()
    {
        DemoQuestion question = DemoModel.Question("presence");
        Outcome outcome = Ask(question);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(outcome.Code, Is.Zero, outcome.Errors);
            Assert.That(outcome.Output.Trim(), Is.EqualTo(question.Reference));
            Assert.That(outcome.Errors, Does.Contain("tokens/s").And.Contain("memory").And.Contain("load"));
            Assert.That(outcome.Errors, Does.Contain("cpu"), "says which device 'auto' is");
        }
    }

    [Test]
    public void PromptAndPictureCanComeFromStandardInput()
    {
        DemoQuestion question = DemoModel.Question("presence");
        int[] expected = Ask(question, "--json").Json.GetProperty("tokens").Numbers();
        Outcome picture = Parvts.RunWithInput(
            File.ReadAllBytes(question.Image), "run", "--model", DemoModel.Model, "--image", "-", "--prompt", question.Text, "--json");
        Outcome prompt = Parvts.RunWithInput(
            question.Text + "\n", "run", "--model", DemoModel.Model, "--image", question.Image, "--prompt-file", "-", "--json");
        using (Assert.EnterMultipleScope())
        {
            Assert.That(picture.Json.GetProperty("tokens").Numbers(), Is.EqualTo(expected));
            Assert.That(prompt.Json.GetProperty("tokens").Numbers(), Is.EqualTo(expected));
        }
    }

    [Test]
    public void RawPromptIsTakenAsItStands()
    {
        DemoQuestion question = DemoModel.Question("presence");
        JsonElement templated = Ask(question, "--json").Json;
        JsonElement raw = Parvts.Run(
            "run", "--model", DemoModel.Model, "--image", question.Image, "--json",
            "--raw-prompt", $"USER: <image>\n{question.Text} ASSISTANT:").Json;
        JsonElement bare = Parvts.Run(
            "run", "--model", DemoModel.Model, "--image", question.Image, "--json", "--raw-prompt", "<image>").Json;
        using (Assert.EnterMultipleScope())
        {
            Assert.That(raw.GetProperty("prompt_tokens").GetInt32(), Is.EqualTo(templated.GetProperty("prompt_tokens").GetInt32()));
            Assert.That(raw.GetProperty("tokens").Numbers(), Is.EqualTo(question.ReferenceTokens));
            Assert.That(
                bare.GetProperty("prompt_tokens").GetInt32(), Is.LessThan(raw.GetProperty("prompt_tokens").GetInt32()));
        }
    }

    [Test]
    public void APlaceholderSaysWhereThePictureBelongs()
    {
        DemoQuestion question = DemoModel.Question("presence");
        JsonElement front = Ask(question, "--json").Json.GetProperty("trace");
        JsonElement back = Parvts.Run(
            "run", "--model", DemoModel.Model, "--image", question.Image, "--prompt", question.Text + " <image>", "--json")
            .Json.GetProperty("trace");
        using (Assert.EnterMultipleScope())
        {
            Assert.That(back.GetProperty("visual").GetInt32(), Is.EqualTo(front.GetProperty("visual").GetInt32()));
            Assert.That(back.GetProperty("prefix").GetInt32(), Is.GreaterThan(front.GetProperty("prefix").GetInt32()));
        }
    }

    [Test]
    public void SamplingOptionsReachTheEngine()
    {
        DemoQuestion question = DemoModel.Question("count");
        string[] sampled = ["--json", "--ignore-eos", "--max-tokens", "12", "--temperature", "3", "--seed"];
        JsonElement first = Ask(question, [.. sampled, "1"]).Json;
        JsonElement again = Ask(question, [.. sampled, "1"]).Json;
        JsonElement other = Ask(question, [.. sampled, "2"]).Json;
        JsonElement narrow = Ask(question, [.. sampled, "2", "--top-k", "1"]).Json;
        JsonElement greedy = Ask(question, "--json", "--ignore-eos", "--max-tokens", "12").Json;
        JsonElement stopped = Ask(question, "--json", "--stop", question.Reference).Json;
        using (Assert.EnterMultipleScope())
        {
            Assert.That(first.GetProperty("finish").GetString(), Is.EqualTo("length"));
            Assert.That(first.GetProperty("tokens").GetArrayLength(), Is.EqualTo(12));
            Assert.That(again.GetProperty("tokens").Numbers(), Is.EqualTo(first.GetProperty("tokens").Numbers()));
            Assert.That(other.GetProperty("tokens").Numbers(), Is.Not.EqualTo(first.GetProperty("tokens").Numbers()));
            Assert.That(narrow.GetProperty("tokens").Numbers(), Is.EqualTo(greedy.GetProperty("tokens").Numbers()));
            Assert.That(stopped.GetProperty("text").GetString()!.Trim(), Is.Empty);
            Assert.That(stopped.GetProperty("finish").GetString(), Is.EqualTo("stop"));
        }
    }

    [Test]
    public void MappedAndReadWeightsAnswerAlikeOnAnyNumberOfThreads()
    {
        DemoQuestion question = DemoModel.Question("color");
        JsonElement json = Ask(question, "--no-map", "--threads", "1", "--device", "cpu", "--json", "--memory-cap", "1.5G").Json;
        Assert.That(json.GetProperty("tokens").Numbers(), Is.EqualTo(question.ReferenceTokens));
    }

    [Test]
    public void ATimeoutEndsTheAnswerAsCancelled()
    {
        JsonElement json = Ask(DemoModel.Question("count"), "--json", "--timeout", "0.001", "--max-tokens", "1500", "--ignore-eos").Json;
        using (Assert.EnterMultipleScope())
        {
            Assert.That(json.GetProperty("finish").GetString(), Is.EqualTo("cancelled"));
            Assert.That(json.GetProperty("tokens").GetArrayLength(), Is.LessThan(1500));
        }
    }

    // At once: a process that sends it might come after the answer's end.
    [LibraryImport("libc", EntryPoint = "kill")]
    private static partial int Signal(int process, int signal);

    [Test]
    public void AnInterruptEndsTheAnswerButKeepsWhatThereIs([Values(Interrupt, Terminate)] int signal)
    {
        if (OperatingSystem.IsWindows())
            Assert.Ignore("there is no signal to send on Windows");
        if (IsIgnored(signal))
            Assert.Ignore("whoever started the tests, a shell's background for instance, has them and their children ignore this signal");
        DemoQuestion question = DemoModel.Question("count");
        using Process process = Parvts.Start(
            "run", "--model", DemoModel.Model, "--image", question.Image, "--prompt", question.Text,
            "--ignore-eos", "--max-tokens", "1800", "--threads", "1");
        process.StandardInput.Close();
        int first = process.StandardOutput.Read();
        Assert.That(Signal(process.Id, signal), Is.Zero);
        process.StandardOutput.ReadToEnd();
        string errors = process.StandardError.ReadToEnd();
        process.WaitForExit();
        using (Assert.EnterMultipleScope())
        {
            Assert.That(first, Is.GreaterThanOrEqualTo(0));
            Assert.That(process.ExitCode, Is.Zero, errors);
            Assert.That(errors, Does.Contain("finish cancelled"));
        }
    }

    // SigIgn of /proc/self/status: bit n - 1 stands for signal n.
    private static bool IsIgnored(int signal)
    {
        string line = File.ReadLines("/proc/self/status").First(text => text.StartsWith("SigIgn:", StringComparison.Ordinal));
        ulong ignored = ulong.Parse(line.AsSpan("SigIgn:".Length).Trim(), NumberStyles.HexNumber, CultureInfo.InvariantCulture);
        return (ignored >> (signal - 1) & 1) != 0;
    }

    [Test]
    public void AClosedPipeIsSilent()
    {
        DemoQuestion question = DemoModel.Question("count");
        using Process process = Parvts.Start(
            "run", "--model", DemoModel.Model, "--image", question.Image, "--prompt", question.Text, "--ignore-eos", "--max-tokens", "30");
        process.StandardInput.Close();
        process.StandardOutput.Close();
        string errors = process.StandardError.ReadToEnd();
        process.WaitForExit();
        Assert.That(errors, Does.Not.Contain("error"));
    }

    [Test]
    public void ShowSaysWhatIsAskedWithoutTouchingTheAnswer()
    {
        DemoQuestion question = DemoModel.Question("presence");
        Outcome outcome = Ask(question, "--show");
        using (Assert.EnterMultipleScope())
        {
            Assert.That(outcome.Output.Trim(), Is.EqualTo(question.Reference));
            Assert.That(outcome.Errors, Does.Contain(question.Text).And.Contain(Path.GetFileName(question.Image)));
            Assert.That(outcome.Errors, Does.Not.Contain('\u001b'), "no control sequences where no terminal is");
        }
    }

    private static Outcome Ask(DemoQuestion question, params string[] more) =>
        Parvts.Run(["run", "--model", DemoModel.Model, "--image", question.Image, "--prompt", question.Text, .. more]);

    private static void AssertNumbers(JsonElement parent, params string[] names)
    {
        foreach (string name in names)
            Assert.That(parent.GetProperty(name).GetDouble(), Is.GreaterThan(0), name);
    }
}
