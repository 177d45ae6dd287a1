using System.Text.Json;

namespace ParVts.Runner.Tests;

public sealed class EvalTests
{
    // Some that the reference answers wrongly, some that it answers rightly.
    private static DemoQuestion[] Questions() =>
    [
        .. DemoModel.AllQuestions().Where(question => question.Reference != question.Answer).Take(4),
        .. DemoModel.AllQuestions().Where(question => question.Reference == question.Answer).Take(8),
    ];

    [Test]
    public void CountsWhatTheReferenceAnswered()
    {
        string table = Path.Combine(DemoModel.Scratch, "table.csv");
        DemoQuestion[] questions = Questions();
        int count = questions.Length;
        JsonElement policies = Eval("--policy", "dense", "--policy", "dense", "--out", table, "--json").Json.GetProperty("policies");
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
                string[] cells = lines[1 + i].Split(',');
                Assert.That(cells[4..7], Is.EqualTo([questions[i].Text, questions[i].Answer, questions[i].Reference]));
            }
        }
    }

    [Test]
    public void PrintsATableForPeople()
    {
        Outcome outcome = Eval("--limit", "3");
        using (Assert.EnterMultipleScope())
        {
            Assert.That(outcome.Code, Is.Zero, outcome.Errors);
            Assert.That(outcome.Output, Does.Match("questions +3 "));
            Assert.That(outcome.Output, Does.Contain("accuracy").And.Contain("agreement"));
        }
    }

    private static double Accuracy(IEnumerable<DemoQuestion> questions) => questions.Average(q => q.Reference == q.Answer ? 1.0 : 0.0);

    private static Outcome Eval(params string[] more)
    {
        string file = Path.Combine(DemoModel.Scratch, "questions.jsonl");
        File.WriteAllLines(file, Questions().Select(question => JsonSerializer.Serialize(new Dictionary<string, string>
        {
            ["image"] = question.Image,
            ["question"] = question.Text,
            ["answer"] = question.Answer,
            ["kind"] = question.Kind,
        })));
        return Parvts.Run(["eval", "--model", DemoModel.Model, "--data", file, .. more]);
    }
}
