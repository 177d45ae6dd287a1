using InferenceEngine = ParVts.Engine.Generation.Engine;
using ParVts.Engine.Generation;
using ParVts.Engine.Imaging;
using ParVts.Engine.Scheduling;
using ParVts.Runner.Evaluation;

namespace ParVts.Runner.Tests;

/// <summary>Policies set to a budget: every one that can be is, and the others are named.</summary>
public sealed class EvalBudgetTests
{
    private static readonly string[] s_withoutParameter = ["dense", "visipruner", "prumerge"];

    // Freezing leaves every token where it is.
    private static readonly string[] s_withoutTokens = ["shortv"];

    private static IEnumerable<PolicyInfo> Policies => PolicyRegistry.All;

    [TestCaseSource(nameof(Policies))]
    public void EveryShareIsAPolicyThatFits(PolicyInfo info)
    {
        foreach (int layers in new[] { 2, 8, 32, 40 })
        {
            var model = new PolicyModel(layers, 1);
            string[] written = [.. Enumerable.Range(0, 21).Select(step => PolicyRegistry.WithBudget(info.Name, step / 20.0, model, 576)).OfType<string>()];
            Assert.That(written, Has.Length.EqualTo(info.Budget is null ? 0 : 21));
            foreach (string policy in written)
                Assert.That(() => PolicyRegistry.Create(policy).Bind(model), Throws.Nothing, policy);
            if (written.Length > 0 && layers > 2)
                Assert.That(written.Distinct().Count(), Is.GreaterThan(Math.Min(5, layers / 2)), "the share says something");
        }
    }

    [Test]
    public void WhatIsGivenStays()
    {
        var model = new PolicyModel(8, 1);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(PolicyRegistry.WithBudget("fastv:layer=2", 0.25, model, 144), Is.EqualTo("fastv:layer=2,keep=36"));
            Assert.That(PolicyRegistry.WithBudget("fastv:keep=0.5", 0.25, model, 144), Is.Null);
            Assert.That(PolicyRegistry.WithBudget("visionzip:contextual=3", 0.25, model, 144), Is.Null, "both of its counts follow from the budget");
            Assert.That(PolicyRegistry.WithBudget("cls-prune+fastv", 0.25, model, 144), Is.Null);
        }
    }

    [Test]
    public void AllMeetTheBudget()
    {
        using InferenceEngine engine = InferenceEngine.Open(DemoModel.Model);
        DemoQuestion question = DemoModel.AllQuestions().First();
        Prompt prompt = engine.CreatePrompt([PromptText.UserMessage(question.Text, 1)], [engine.PrepareImage(ImageDecoder.Load(question.Image))]);
        var solver = new BudgetSolver(engine, [prompt]);
        using (Assert.EnterMultipleScope())
        {
            // Policies without a budget parameter may need files to be made at all.
            foreach (PolicyInfo info in PolicyRegistry.All.Where(info => info.Budget is not null || s_withoutParameter.Contains(info.Name)))
            {
                foreach (EvaluationBudget budget in EvaluationBudget.Parse("tokens=60").Concat(EvaluationBudget.Parse("flops=0.5")))
                {
                    BudgetedPolicy solved = solver.Solve(info.Name, budget);
                    string what = $"{info.Name} for {budget}: {solved}";
                    if (s_withoutParameter.Contains(info.Name) || (budget.IsTokens && s_withoutTokens.Contains(info.Name)))
                    {
                        Assert.That(solved.Note is null, Is.EqualTo(info.Name == "dense"), what);
                        Assert.That(solved.Note ?? "dense", Does.Contain(info.Name), what);
                        continue;
                    }

                    using Session session = engine.CreateSession(solved.Policy);
                    ScheduleTrace trace = session.Generate(prompt, new GenerationOptions { MaxTokens = 1 }).Trace;
                    double tokens = Enumerable.Range(0, trace.RowsByLayer.Length).Average(layer => trace.KeptAt(layer).Count);
                    double cost = budget.IsTokens ? tokens : (double)trace.Flops / trace.FlopsDense;
                    double off = Math.Abs(cost - budget.Value) / budget.Value;
                    Assert.That(solved.Note is null, Is.EqualTo(off <= 0.02), what);

                    // A layer is an eighth of this model: what cuts at a layer comes no nearer.
                    Assert.That(off, Is.LessThan(0.3), what);
                }
            }
        }
    }

    [TestCase("tokens=64", "64 visual tokens, mean of layers")]
    [TestCase("flops=0.25/0.5", "25.0 % of the prefill FLOPs|50.0 % of the prefill FLOPs")]
    public void BudgetsAreRead(string text, string read) =>
        Assert.That(string.Join('|', EvaluationBudget.Parse(text)), Is.EqualTo(read));

    [TestCase("64")]
    [TestCase("tokens")]
    [TestCase("tokens=0")]
    [TestCase("tokens=x")]
    [TestCase("flops=1.5")]
    [TestCase("flops=")]
    [TestCase("time=3")]
    public void OtherBudgetsAreRefused(string text) =>
        Assert.That(() => EvaluationBudget.Parse(text), Throws.TypeOf<UsageException>().With.Message.Contains("tokens=64"));

    [TestCase(10, 3)]
    [TestCase(2, 4)]
    [TestCase(0, 2)]
    public void ShardsAreAllOfThem(int questions, int count)
    {
        int[] all = [.. Enumerable.Range(0, questions)];
        int[][] shards = [.. Enumerable.Range(1, count).Select(number => Shard.Parse($"{number}/{count}").Of(all).ToArray())];
        using (Assert.EnterMultipleScope())
        {
            Assert.That(shards.SelectMany(shard => shard), Is.EqualTo(all));
            Assert.That(shards.Max(shard => shard.Length) - shards.Min(shard => shard.Length), Is.LessThanOrEqualTo(1));
        }
    }

    [TestCase("0/2")]
    [TestCase("3/2")]
    [TestCase("1")]
    [TestCase("1/x")]
    public void OtherShardsAreRefused(string text) => Assert.That(() => Shard.Parse(text), Throws.TypeOf<UsageException>());
}
