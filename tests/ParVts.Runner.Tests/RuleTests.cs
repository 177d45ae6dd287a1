using ParVts.Runner.Dumping;
using ParVts.Runner.Evaluation;
using ParVts.Runner.Output;

namespace ParVts.Runner.Tests;

/// <summary>The runner's few rules of its own.</summary>
public sealed class RuleTests
{
    [TestCase("Yes.", "yes", true)]
    [TestCase(" blue !\n", "Blue", true)]
    [TestCase("3", "3.", true)]
    [TestCase("3.5", "35", false)]
    [TestCase("yes, it is", "yes", false)]
    [TestCase("", "no", false)]
    public void AnswersMatch(string answer, string expected, bool match) =>
        Assert.That(AnswerMatch.Equal(answer, expected), Is.EqualTo(match));

    [Test]
    public void NamesAreOrderedAsPeopleDo()
    {
        string[] names = ["layer.10.b", "layer.2.b", "layer.2", "layer.2.a", "layer", "k.9"];
        Array.Sort(names, NaturalOrder.Compare);
        Assert.That(names, Is.EqualTo(["k.9", "layer", "layer.2", "layer.2.a", "layer.2.b", "layer.10.b"]));
    }

    [Test]
    public void EveryPolicyIsFirstInItsTurn()
    {
        string[][] orders = [.. Enumerable.Range(0, 4).Select(question => Evaluator.Rotate(["a", "b", "c"], question).ToArray())];
        Assert.That(orders, Is.EqualTo(new[] { ["a", "b", "c"], ["b", "c", "a"], ["c", "a", "b"], new[] { "a", "b", "c" } }));
    }

    [TestCase("all", "hidden.3", true)]
    [TestCase("hidden", "hidden.3", true)]
    [TestCase("hidden.3", "hidden.3", true)]
    [TestCase("hidden.3", "hidden.4", false)]
    [TestCase("logits, rows", "rows.0", true)]
    [TestCase("logits", "rows.0", false)]
    public void StagesAreSelected(string list, string tensor, bool contained) =>
        Assert.That(StageSelection.Parse([list]).Contains(tensor), Is.EqualTo(contained));

    [TestCase("hidden.x")]
    [TestCase("logits.3")]
    [TestCase("hidden.3.4")]
    [TestCase(",")]
    public void UnknownStagesAreRefused(string list) =>
        Assert.That(() => StageSelection.Parse([list]), Throws.TypeOf<UsageException>());
}
