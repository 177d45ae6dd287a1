namespace ParVts.Runner.Tests.Documentation;

/// <summary>
/// Every block of code of README and docs is run as it stands there: commands in a folder that has what the pages speak of (a model, a
/// picture, a benchmark's files), C# compiled and run. What cannot be run in a test is named here, with who runs it instead.
/// </summary>
public sealed class DocumentationTests
{
    // Page, how the block begins, and why it is not run here.
    private static readonly (string Page, string Begins, string Why)[] s_others =
    [
        ("CONTRIBUTING.md", "dotnet restore", "rewrites the lock files"),
        ("docs/architecture.md", "", "drawings"),
        ("docs/kernels.md", "", "drawings"),
        ("docs/measurements/", "", "made the tables: minutes to hours"),
        ("docs/profiling.md", "tools/profile/nsys.sh", "NsightTests runs the presets"),
        ("docs/profiling.md", "nsys profile", "needs a GPU"),
        ("docs/profiling.md", "tools/profile/ncu.sh", "needs a GPU"),
        ("docs/profiling.md", "dotnet-trace", "a tool of its own; ProfileTests listens to the same source"),
        ("docs/profiling.md", "tools/profile/report.py", "a list of options; ProfileTests runs it"),
        ("examples/", "", "AnExamplesPageRuns, as a whole"),
    ];

    private static IEnumerable<TestCaseData> Blocks() =>
        CodeBlock.All().Where(block => Other(block) is null).Select(block => new TestCaseData(block).SetArgDisplayNames(block.Page, $"{block.Line}", block.FirstLine));

    private static (string Page, string Begins, string Why)? Other(CodeBlock block) => s_others
        .Where(one => block.Page.StartsWith(one.Page, StringComparison.Ordinal) && block.Text.StartsWith(one.Begins, StringComparison.Ordinal))
        .Select(one => ((string, string, string)?)one).FirstOrDefault();

    [Test]
    public void WhatIsNotRunHereIsThere()
    {
        CodeBlock[] blocks = [.. CodeBlock.All()];
        Assert.That(blocks.Count(block => block.Page == "README.md"), Is.GreaterThan(6));
        foreach ((string page, string begins, string why) in s_others)
            Assert.That(blocks.Any(block => block.Page.StartsWith(page, StringComparison.Ordinal) && block.Text.StartsWith(begins, StringComparison.Ordinal)), $"{page}: {begins} ({why})");
    }

    [TestCaseSource(nameof(Blocks))]
    [Platform("Linux")]
    public void ABlockRuns(object given)
    {
        var block = (CodeBlock)given;
        using var stage = new Stage();
        Outcome outcome = block.Language == "csharp" ? stage.RunCSharp(block.Text) : stage.RunShell(block.Text);
        Assert.That(outcome.Code, Is.Zero, $"{block.Text}\n{outcome.Output}\n{outcome.Errors}");
        Assert.That(outcome.Output + outcome.Errors, Is.Not.Empty, "a block that says nothing has done nothing");
    }

    // Their blocks follow from each other: a server is started, asked and ended.
    [TestCase("examples/csharp/README.md", "circle|red|green|blue")]
    [TestCase("examples/http/README.md", @"\[DONE\]")]
    [Platform("Linux")]
    public void AnExamplesPageRuns(string page, string expected)
    {
        Tools.Require("curl");
        CodeBlock[] blocks = [.. CodeBlock.All().Where(block => block.Page == page && !block.Text.Contains("FromPackage", StringComparison.Ordinal))];
        Assert.That(blocks, Is.Not.Empty);
        const string atLast = "trap 'for job in $(jobs -p); do kill $job 2>/dev/null || true; done' EXIT\n";
        Outcome outcome = Stage.Run(TestData.Root, "bash", "-euo", "pipefail", "-c", atLast + string.Join('\n', blocks.Select(block => block.Text)) + "\nwait");
        Assert.That(outcome.Code, Is.Zero, outcome.Output + outcome.Errors);
        Assert.That(outcome.Output, Does.Match(expected));
    }

    /// <summary>A folder in which a reader of the pages could stand.</summary>
    private sealed class Stage : IDisposable
    {
        // As in the README's first lines; verbs that a test cannot run inside itself must at least be there.
        private const string Script = """
            #!/usr/bin/env bash
            set -euo pipefail
            verb=$1; shift
            case $verb in
                run)
                    if [ $# -eq 0 ]; then
                        set -- run --model MODEL --image cat.jpg --prompt "how many objects are there?" --show
                    elif [[ $1 == -* ]]; then
                        set -- run "$@"
                    fi
                    exec parvts "$@" ;;
                *) "$REPOSITORY/build.sh" help | grep -E "^  $verb( |$)" ;;
            esac
            """;

        private readonly string _folder = Directory.CreateTempSubdirectory("parvts-docs-").FullName;

        public Stage()
        {
            string model = DemoModel.Model;
            string picture = DemoModel.AllQuestions().First().Image;
            foreach (string name in new[] { "include", "examples", "tests", "tools", "docs", "artifacts" })
                Link(name, Path.Combine(TestData.Root, name));
            Link("path/to/llava-1.5-7b-hf", model);
            Link("MODEL", model);
            Link("DIR", model);
            Link("cat.jpg", picture);
            Link("FILE", picture);
            Link("photos/1.png", picture);
            Link("photos/2.png", DemoModel.AllQuestions().Last().Image);
            File.WriteAllText(Path.Combine(_folder, "questions.jsonl"), """{"image": "cat.jpg", "question": "what is there?", "answer": "a circle"}""");
            EvalSamples.Write("pope", Path.Combine(_folder, "pope"), File.ReadAllBytes(picture));
            File.WriteAllLines(
                Path.Combine(_folder, "pope/coco/coco_pope_adversarial.json"),
                Enumerable.Range(1, 8).Select(i => $$"""{"question_id": {{i}}, "image": "1.jpg", "text": "Is there a cat in the image?", "label": "no"}"""));
            Link("val2014", Path.Combine(_folder, "pope", "val2014"));
            Program("build.sh", Script);
            Program("bin/parvts", $"#!/usr/bin/env bash\nexec dotnet '{Path.Combine(AppContext.BaseDirectory, "parvts.dll")}' \"$@\"\n");
        }

        public Outcome RunShell(string commands)
        {
            if (commands.Contains("artifacts/native", StringComparison.Ordinal) && !File.Exists(Path.Combine(TestData.Root, "artifacts/native/libparvts.so")))
                Assert.Ignore("the C library is not there; './build.sh native' makes it");
            foreach (string program in new[] { "cc", "python3" }.Where(program => commands.Contains("\n" + program + " ", StringComparison.Ordinal)))
                Tools.Require(program);
            return Run(_folder, "bash", "-euo", "pipefail", "-c", commands);
        }

        public Outcome RunCSharp(string program)
        {
            string project = Path.Combine(_folder, "program");
            Directory.CreateDirectory(project);
            File.WriteAllText(Path.Combine(project, "Program.cs"), program);
            string references = string.Concat(new[] { "ParVts.Engine", "ParVts.Cuda" }.Select(name => $"<Reference Include=\"{Path.Combine(AppContext.BaseDirectory, name)}.dll\" />"));
            File.WriteAllText(
                Path.Combine(project, "program.csproj"),
                $"""
                <Project Sdk="Microsoft.NET.Sdk">
                  <PropertyGroup><OutputType>Exe</OutputType><TargetFramework>net10.0</TargetFramework><ImplicitUsings>enable</ImplicitUsings><Nullable>enable</Nullable></PropertyGroup>
                  <ItemGroup>{references}</ItemGroup>
                </Project>
                """);
            Outcome built = Run(_folder, "dotnet", "build", project, "-v", "quiet", "-nologo", "-nodeReuse:false", "-p:UseSharedCompilation=false", "-o", Path.Combine(_folder, "built"));
            return built.Code != 0 ? built : Run(_folder, "dotnet", Path.Combine(_folder, "built", "program.dll"));
        }

        public void Dispose() => Directory.Delete(_folder, recursive: true);

        private void Link(string name, string target)
        {
            string path = Path.Combine(_folder, name);
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            File.CreateSymbolicLink(path, target);
        }

        private void Program(string name, string text)
        {
            string path = Path.Combine(_folder, name);
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            File.WriteAllText(path, text);
            if (!OperatingSystem.IsWindows())
                File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        }

        /// <summary>Runs a program to its end, in a folder whose own programs come first.</summary>
        public static Outcome Run(string folder, string program, params string[] arguments) => Tools.RunIn(
            folder,
            program,
            new Dictionary<string, string>
            {
                ["PATH"] = Path.Combine(folder, "bin") + Path.PathSeparator + Environment.GetEnvironmentVariable("PATH"),
                ["REPOSITORY"] = TestData.Root,
            },
            arguments);
    }
}
