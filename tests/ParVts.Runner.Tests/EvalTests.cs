using System.Text.Json;

namespace ParVts.Runner.Tests;

public sealed class EvalTests
{
    [Test]
    public void CountsWhatTheReferenceAnswered()
    {
        string table = Path.Combine(DemoModel.Scratch, "counts.csv");
        DemoQuestion[] questions = EvalRun.Questions();
        int count = questions.Length;
        JsonElement policies = EvalRun.Of("--policy", "vtw:layer=0", "--policy", "dense", "--out", table, "--json").Json.GetProperty("policies");
        string[] lines = File.ReadAllLines(table);
        Assert.That(policies.GetArrayLength(), Is.EqualTo(2));
        JsonElement policy = policies[1];
        using (Assert.EnterMultipleScope())
        {
            Assert.That(policy.GetProperty("policy").GetString(), Is.EqualTo("dense"));
            Assert.That(policy.GetProperty("questions").GetInt32(), Is.EqualTo(count));
            Assert.That(policy.GetProperty("accuracy").GetDouble(), Is.EqualTo(Accuracy(questions)).Within(1e-12));
            Assert.That(policy.GetProperty("agreement").GetDouble(), Is.EqualTo(1));
            JsonElement byKind = policy.GetProperty("by_kind");
            Assert.That(byKind.EnumerateObject().Select(kind => kind.Name), Is.EquivalentTo(questions.Select(q => q.Kind).Distinct()));
            foreach (IGrouping<string, DemoQuestion> kind in questions.GroupBy(question => question.Kind))
                Assert.That(byKind.GetProperty(kind.Key).GetDouble(), Is.EqualTo(Accuracy(kind)).Within(1e-12), kind.Key);

            Assert.That(lines, Has.Length.EqualTo(1 + 2 * count));
            Assert.That(lines[0], Does.StartWith("policy,id,image,kind,question,expected,answer,correct,agrees"));
            for (int i = 0; i < count; i++)
            {
                string[] cells = lines[1 + 2 * i].Split(',');
                Assert.That(cells[0], Is.EqualTo("dense"));
                Assert.That(cells[4..7], Is.EqualTo([questions[i].Text, questions[i].Answer, questions[i].Reference]));
            }
        }
    }

    [Test]
    public void PrintsATableForPeople()
    {
        Outcome outcome = EvalRun.Of("--limit", "3");
        using (Assert.EnterMultipleScope())
        {
            Assert.That(outcome.Code, Is.Zero, outcome.Errors);
            Assert.That(outcome.Output, Does.Match("questions +3 "));
            Assert.That(outcome.Output, Does.Contain("accuracy").And.Contain("agreement").And.Contain("p against dense"));
        }
    }

    private static double Accuracy(IEnumerable<DemoQuestion> questions) => questions.Average(q => q.Reference == q.Answer ? 1.0 : 0.0);
}

/// <summary>Runs <c>parvts eval</c> on a dozen of the demo's questions.</summary>
internal static class EvalRun
{
    private static readonly Lock Gate = new();

    /// <summary>Some that the reference answers wrongly, some that it answers rightly.</summary>
    public static DemoQuestion[] Questions() =>
    [
        .. DemoModel.AllQuestions().Where(question => question.Reference != question.Answer).Take(4),
        .. DemoModel.AllQuestions().Where(question => question.Reference == question.Answer).Take(8),
    ];

    /// <summary>Runs it with further arguments.</summary>
    public static Outcome Of(params string[] more) => OfData(WriteQuestions("questions.jsonl", _ => { }), more);

    /// <summary>Runs it on a file of questions.</summary>
    public static Outcome OfData(string data, params string[] more) =>
        Parvts.Run(["eval", "--model", DemoModel.Model, "--data", data, .. more]);

    /// <summary>Writes the questions, each changed in some way.</summary>
    public static string WriteQuestions(string name, Action<Dictionary<string, string>> change)
    {
        string file = Path.Combine(DemoModel.Scratch, name);
        Directory.CreateDirectory(Path.GetDirectoryName(file)!);
        lock (Gate)
        {
            File.WriteAllLines(file, Questions().Select(question =>
            {
                var line = new Dictionary<string, string>
                {
                    ["image"] = question.Image,
                    ["question"] = question.Text,
                    ["answer"] = question.Answer,
                    ["kind"] = question.Kind,
                };
                change(line);
                return JsonSerializer.Serialize(line);
            }));
        }

        return file;
    }
}
