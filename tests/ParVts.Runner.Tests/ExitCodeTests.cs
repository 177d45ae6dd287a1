namespace ParVts.Runner.Tests;

/// <summary>Each class of error has its exit code and a message that says what to do; standard output stays empty.</summary>
public sealed class ExitCodeTests
{
    [TestCase("", "Commands:")]
    [TestCase("fly", "'fly'")]
    [TestCase("run --prompt x", "--model")]
    [TestCase("run --model MODEL", "--raw-prompt")]
    [TestCase("run --model MODEL --prompt x --raw-prompt y", "exactly one of")]
    [TestCase("run --model MODEL --prompt x --wings", "--wings")]
    [TestCase("run --model MODEL --prompt x --policy nope", "dense")]
    [TestCase("run --model MODEL --prompt x --policy dense:keep=3", "keep")]
    [TestCase("run --model MODEL --prompt x --policy parvts:keep=0", "keep is a count of at least 1")]
    [TestCase("run --model MODEL --prompt x --policy parvts:migrate=8", "migrate is 0 to 7 here")]
    [TestCase("run --model MODEL --prompt x --policy vtw:layer=8", "layer is 0 to 7 here")]
    [TestCase("run --model MODEL --prompt x --policy cls-prune+random", "contradict each other")]
    [TestCase("run --model MODEL --prompt x --policy vtw:layer=2+fastv:layer=4", "contradict each other")]
    [TestCase("run --model MODEL --prompt x --policy @POLICY2", "this program reads version 1")]
    [TestCase("tune --model MODEL --images IMAGES --policy fastv --out SCRATCH/t.json", "these have: parvts, vtw, shortv")]
    [TestCase("tune --model MODEL --images IMAGES --policy vtw --threshold 0 --out SCRATCH/t.json", "--threshold")]
    [TestCase("tune --model MODEL --images IMAGES --policy vtw --limit 0 --out SCRATCH/t.json", "--limit")]
    [TestCase("tune --model MODEL --images IMAGES --policy vtw --out SCRATCH/none/t.json", "there is no folder")]
    [TestCase("explain --model MODEL --prompt x --out SCRATCH", "is a folder")]
    [TestCase("eval --model MODEL --data EVAL --markdown SCRATCH/none/x.md", "--markdown")]
    [TestCase("eval --model MODEL --data EVAL --policy parvts:migrate=9", "migrate is 0 to 7 here")]
    [TestCase("run --model MODEL --prompt x --device tpu", "cuda:N")]
    [TestCase("run --model MODEL --prompt x --template nope", "auto")]
    [TestCase("run --model MODEL --prompt x --image-aspect round", "round")]
    [TestCase("run --model MODEL --prompt x --temperature warm", "warm")]
    [TestCase("run --model MODEL --prompt x --temperature -1", "temperature")]
    [TestCase("run --model MODEL --prompt x --top-p 0", "top-p")]
    [TestCase("run --model MODEL --prompt x --max-tokens 0", "new tokens")]
    [TestCase("run --model MODEL --prompt x --timeout 0", "--timeout")]
    [TestCase("run --model MODEL --prompt x --threads -1", "--threads")]
    [TestCase("run --model MODEL --prompt x --memory-cap 5Q", "5Q")]
    [TestCase("run --model MODEL --prompt x --image - --image -", "standard input")]
    [TestCase("run --model MODEL --prompt ", "empty")]
    [TestCase("run --model MODEL --image IMAGE --prompt <image><image>", "placeholder")]
    [TestCase("run --model MODEL --image IMAGE --raw-prompt x", "placeholder")]
    [TestCase("dump --model MODEL --prompt x --out SCRATCH/d --stages hidden.77", "hidden.77")]
    [TestCase("dump --model MODEL --prompt x --out SCRATCH/d --stages nope", "kv_lengths")]
    [TestCase("inspect", "--model")]
    [TestCase("policies nope", "dense")]
    [TestCase("eval --model MODEL --data EVAL --limit 0", "--limit")]
    [TestCase("eval --model MODEL --data EVAL --max-tokens 0", "new tokens")]
    [TestCase("eval --model MODEL --data EVAL --restart", "--out")]
    [TestCase("analyze --model MODEL --prompt x", "--image")]
    [TestCase("analyze --model MODEL --image IMAGE", "--raw-prompt")]
    [TestCase("analyze --model MODEL --image IMAGE --prompt x --data EVAL", "--data brings its own")]
    [TestCase("analyze --model MODEL --data EVAL --limit 0", "--limit")]
    [TestCase("analyze --model MODEL --data EVAL --max-tokens 0", "new tokens")]
    [TestCase("analyze --model MODEL --data EVAL --knock-out text-visual", "text-visual:8-15")]
    [TestCase("analyze --model MODEL --data EVAL --knock-out text-visual:3-2", "behind to=2")]
    [TestCase("analyze --model MODEL --data EVAL --knock-out text-visual:0-8", "to is 0 to 7 here")]
    [TestCase("analyze --model MODEL --data EVAL --policy vtw:layer=0 --knock-out text-visual:1-2", "contradict each other")]
    [TestCase("analyze --model MODEL --data EVAL --visipruner wings=1", "wings")]
    [TestCase("analyze --model MODEL --data EVAL --visipruner shallow=8", "shallow is 0 to 7 here")]
    [TestCase("analyze --model MODEL --data EVAL --out SCRATCH/none/x.csv", "there is no folder")]
    [TestCase("analyze --model MODEL --data EVAL --plot SCRATCH", "is a folder")]
    [TestCase("run --model MODEL --prompt x --policy knockout:from=5,to=4", "behind to=4")]
    [TestCase("bench", "exactly one of --model and --config")]
    [TestCase("bench --model MODEL --config MODEL", "exactly one of --model and --config")]
    [TestCase("bench --config MODEL --policy nope", "dense")]
    [TestCase("bench --config MODEL --policy dense,nope:keep=3", "there is no policy 'nope'")]
    [TestCase("bench --config MODEL --policy vtw:layer=1,keep=3", "has no parameter 'keep'")]
    [TestCase("bench --config MODEL --policy dense,", "a part of the list is empty")]
    [TestCase("bench --config MODEL --policy vtw:layer=8", "layer is 0 to 7 here")]
    [TestCase("bench --config MODEL --prompt-tokens 35+0", "35+29")]
    [TestCase("bench --config MODEL --images 1,x", "'x' is no number from 0 to 1000")]
    [TestCase("bench --config MODEL --images 1000", "the model's context")]
    [TestCase("bench --config MODEL --new-tokens 0", "--new-tokens")]
    [TestCase("bench --config MODEL --new-tokens 1000000", "the model's context")]
    [TestCase("bench --config MODEL --device cpu,tpu", "cuda:N")]
    [TestCase("bench --config MODEL --threads 1,two", "'two'")]
    [TestCase("bench --config MODEL --repeats 0", "it must be from 1 to 100")]
    [TestCase("bench --config MODEL --warm-up 101", "it must be from 0 to 100")]
    [TestCase("bench --config MODEL --csv SCRATCH/none/x.csv", "there is no folder")]
    [TestCase("bench --config MODEL --markdown SCRATCH", "is a folder")]
    [TestCase("bench --config MODEL --plot SCRATCH/x.svg", "several numbers of --images")]
    [TestCase("bench --config MODEL --images 1,2 --threads 1,2 --plot SCRATCH/x.svg", "several numbers of --images")]
    [TestCase("bench --config MODEL --anyway", "--compare")]
    [TestCase("bench --compare EVAL", "--compare")]
    [TestCase("bench --compare EVAL EVAL --images 1", "leave --images out")]
    [TestCase("image --image IMAGE --out SCRATCH/x.png", "--resize")]
    [TestCase("image --image IMAGE --resize 3by4 --out SCRATCH/x.png", "3by4")]
    [TestCase("image --image IMAGE --resize 3x4 --out SCRATCH/x.gif", "x.gif")]
    public void WrongUsageIs2(string line, string message) => Fails(2, line, message);

    [TestCase("run --model SCRATCH/none --prompt x", "config.json")]
    [TestCase("run --model MODEL --prompt x --image SCRATCH/none.png", "none.png")]
    [TestCase("run --model MODEL --prompt x --policy @SCRATCH/none.json", "none.json")]
    [TestCase("run --model MODEL --prompt x --policy @EVAL", "policy file")]
    [TestCase("tune --model MODEL --images SCRATCH/none --policy vtw --out SCRATCH/t.json", "none")]
    [TestCase("tune --model MODEL --images MODEL --policy vtw --out SCRATCH/t.json", "no pictures")]
    [TestCase("run --model MODEL --prompt x --image EVAL", "")]
    [TestCase("run --model MODEL --prompt-file SCRATCH/none.txt", "none.txt")]
    [TestCase("inspect EVAL", "eval.jsonl")]
    [TestCase("inspect SCRATCH/none.safetensors", "none.safetensors")]
    [TestCase("eval --model MODEL --data MODEL/config.json", "config.json, line 1")]
    [TestCase("eval --model MODEL --data SCRATCH/none.jsonl", "none.jsonl")]
    [TestCase("analyze --model MODEL --data SCRATCH/none.jsonl", "none.jsonl")]
    [TestCase("bench --config SCRATCH/none.json", "none.json")]
    [TestCase("bench --config IMAGES", "config.json")]
    [TestCase("bench --config EVAL", "eval.jsonl")]
    [TestCase("bench --model SCRATCH/none", "config.json")]
    [TestCase("bench --compare SCRATCH/none.json SCRATCH/none.json", "none.json")]
    [TestCase("bench --compare EVAL EVAL", "eval.jsonl")]
    [TestCase("bench --compare MODEL/config.json MODEL/config.json", "no result of 'parvts bench --json'")]
    [TestCase("tokenize --tokenizer SCRATCH/none.json", "none.json")]
    [TestCase("image --preprocessor SCRATCH --image IMAGE --out SCRATCH/x.safetensors", "preprocessor_config.json")]
    public void BadFileIs3(string line, string message) => Fails(3, line, message);

    [TestCase("run --model MODEL --prompt x --device cuda:99", "cuda:99")]
    [TestCase("run --model MODEL --prompt x --device cuda:GPU-00112233", "cuda:GPU-00112233")]
    public void MissingDeviceIs4(string line, string message) => Fails(4, line, message);

    // Never another device, nor anything else, in place of the kernels' compiler.
    [Test]
    public void WithoutTheCompilerTheSimulatedGpuIs4()
    {
        string none = Path.Combine(DemoModel.Scratch, "libnvrtc.so.0");
        Outcome outcome = Parvts.RunWith("PARVTS_NVRTC", none, "run", "--model", DemoModel.Model, "--prompt", "x", "--device", "sim", "--json");
        using (Assert.EnterMultipleScope())
        {
            Assert.That(outcome.Code, Is.EqualTo(4), outcome.Errors);
            Assert.That(outcome.Output, Is.Empty);
            Assert.That(outcome.Errors, Does.StartWith("error: NVRTC: cannot be loaded").And.Contain(none).And.Contain("PARVTS_NVRTC").And.Contain("libnvrtc12"));
        }
    }

    [TestCase("run --model MODEL --image IMAGE --prompt x --memory-cap 1M", "cap is 1.0 MiB")]
    [TestCase("run --model MODEL --image IMAGE --prompt x --memory-cap 1000000 --json", "MiB")]
    public void TooLittleMemoryIs5(string line, string message) => Fails(5, line, message);

    [Test]
    public void WritingToNowhereIs1()
    {
        Outcome outcome = Run("image --image IMAGE --resize 8x8 --out SCRATCH/file/x.png", makeFile: true);
        Assert.That(outcome.Code, Is.AnyOf(1, 3), outcome.Errors);
    }

    [TestCase("run --model SCRATCH/none --prompt x --verbose")]
    public void VerboseShowsWhere(string line) => Assert.That(Run(line).Errors, Does.Contain("   at "));

    private static void Fails(int code, string line, string message)
    {
        Outcome outcome = Run(line);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(outcome.Code, Is.EqualTo(code), outcome.Errors);
            Assert.That(outcome.Output, Is.Empty);
            Assert.That(outcome.Errors, line.Length == 0 ? Does.Contain("Usage:") : Does.StartWith("error: "));
            Assert.That(outcome.Errors, Does.Contain(message));
            Assert.That(outcome.Errors, Does.Not.Contain("   at "), "a stack trace");
        }
    }

    private static Outcome Run(string line, bool makeFile = false)
    {
        if (makeFile)
            File.WriteAllText(Path.Combine(DemoModel.Scratch, "file"), "");
        string image = DemoModel.Question("presence").Image;
        string policy = Path.Combine(DemoModel.Scratch, "version2.json");
        File.WriteAllText(policy, """{"version": 2, "policy": "dense"}""");
        return Parvts.Run(line.Length == 0 ? [] : [.. line.Split(' ').Select(Fill)]);

        string Fill(string word) => word
            .Replace("MODEL", DemoModel.Model, StringComparison.Ordinal)
            .Replace("POLICY2", policy, StringComparison.Ordinal)
            .Replace("IMAGES", Path.GetDirectoryName(image), StringComparison.Ordinal)
            .Replace("IMAGE", image, StringComparison.Ordinal)
            .Replace("EVAL", DemoModel.Questions, StringComparison.Ordinal)
            .Replace("SCRATCH", DemoModel.Scratch, StringComparison.Ordinal);
    }
}
