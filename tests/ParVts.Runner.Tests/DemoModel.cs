using System.Text.Json;

namespace ParVts.Runner.Tests;

/// <summary>
/// The demo model and its evaluation set: the folder named by PARVTS_DEMO, else the project's own copy. Where there is
/// neither, the calling test is skipped, by name.
/// </summary>
internal static class DemoModel
{
    /// <summary>The checkpoint's folder.</summary>
    public static string Model => Find("model");

    /// <summary>The questions.</summary>
    public static string Questions => Find("eval/eval.jsonl");

    /// <summary>A folder for files that tests write.</summary>
    public static string Scratch { get; } = Directory.CreateTempSubdirectory("parvts-tests-").FullName;

    /// <summary>The first question that has the given kind.</summary>
    public static DemoQuestion Question(string kind) => AllQuestions().First(question => question.Kind == kind);

    /// <summary>Every question.</summary>
    public static IEnumerable<DemoQuestion> AllQuestions()
    {
        string file = Questions;
        foreach (string line in File.ReadLines(file))
        {
            using JsonDocument document = JsonDocument.Parse(line);
            JsonElement question = document.RootElement;
            yield return new DemoQuestion(
                Path.Combine(Path.GetDirectoryName(file)!, question.GetProperty("image").GetString()!),
                question.GetProperty("question").GetString()!,
                question.GetProperty("answer").GetString()!,
                question.GetProperty("kind").GetString()!,
                question.GetProperty("reference_text").GetString()!,
                [.. question.GetProperty("reference_tokens").EnumerateArray().Select(token => token.GetInt32())]);
        }
    }

    private static string Find(string relative)
    {
        string folder = Environment.GetEnvironmentVariable("PARVTS_DEMO") is { Length: > 0 } named ? named : TestData.Own("demo-model");
        string path = Path.Combine(folder, relative);
        if (!Path.Exists(path))
            Assert.Ignore($"the demo model's '{relative}' is not here (looked in {folder})");
        return path;
    }
}

/// <summary>A question of the evaluation set, and what the reference implementation answered.</summary>
internal sealed record DemoQuestion(string Image, string Text, string Answer, string Kind, string Reference, int[] ReferenceTokens);
