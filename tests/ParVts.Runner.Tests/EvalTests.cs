using System.Text.Json;

namespace ParVts.Runner.Tests;

public sealed class EvalTests
{
    private const int Questions = 12;

    [Test]
    public void CountsWhatTheReferenceAnswered()
    {
        string table = Path.Combine(DemoModel.Scratch, "table.csv");
        DemoQuestion[] questions = [.. DemoModel.AllQuestions().Take(Questions)];
        JsonElement policies = Eval("--policy", "dense", "--policy", "dense", "--out", table, "--json").Json.GetProperty("policies");
        string[] lines = File.ReadAllLines(table);
        Assert.That(policies.GetArrayLength(), Is.EqualTo(2));
        JsonElement policy = policies[1];
        using (Assert.EnterMultipleScope())
        {
            Assert.That(policy.GetProperty("policy").GetString(), Is.EqualTo("dense"));
            Assert.That(policy.GetProperty("questions").GetInt32(), Is.EqualTo(Questions));
            Assert.That(policy.GetProperty("accuracy").GetDouble(), Is.EqualTo(Accuracy(questions)).Within(1e-12));
            Assert.That(policy.GetProperty("agreement").GetDouble(), Is.EqualTo(1));
            JsonElement byKind = policy.GetProperty("by_kind");
            Assert.That(byKind.EnumerateObject().Select(kind => kind.Name), Is.EquivalentTo(questions.Select(q => q.Kind).Distinct()));
            foreach (IGrouping<string, DemoQuestion> kind in questions.GroupBy(question => question.Kind))
                Assert.That(byKind.GetProperty(kind.Key).GetDouble(), Is.EqualTo(Accuracy(kind)).Within(1e-12), kind.Key);

            Assert.That(lines, Has.Length.EqualTo(1 + 2 * Questions));
            Assert.That(lines[0], Does.StartWith("policy,id,image,kind,question,expected,answer,correct,agrees"));
            for (int i = 0; i < Questions; i++)
            {
                string[] cells = lines[1 + i].Split(',');
                Assert.That(cells[4..7], Is.EqualTo([questions[i].Text, questions[i].Answer, questions[i].Reference]));
            }
        }
    }

    [Test]
    public void PrintsATableForPeople()
    {
        Outcome outcome = Eval();
        using (Assert.EnterMultipleScope())
        {
            Assert.That(outcome.Code, Is.Zero, outcome.Errors);
            Assert.That(outcome.Output, Does.Contain("accuracy").And.Contain("presence").And.Contain("agreement"));
        }
    }

    private static double Accuracy(IEnumerable<DemoQuestion> questions) => questions.Average(q => q.Reference == q.Answer ? 1.0 : 0.0);

    private static Outcome Eval(params string[] more) => Parvts.Run(
        ["eval", "--model", DemoModel.Model, "--data", DemoModel.Questions, "--limit", $"{Questions}", .. more]);
}
