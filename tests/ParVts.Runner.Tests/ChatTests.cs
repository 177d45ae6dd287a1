using System.Text.Json;

namespace ParVts.Runner.Tests;

public sealed class ChatTests
{
    [Test]
    public void ASecondTurnReusesTheCache()
    {
        DemoQuestion first = DemoModel.Question("presence");
        JsonElement turns = Chat($"{first.Text}\n\nhow many objects are there?\n", "--image", first.Image, "--json")
            .Json.GetProperty("turns");
        Assert.That(turns.GetArrayLength(), Is.EqualTo(2));
        JsonElement answer = turns[0];
        JsonElement second = turns[1];
        using (Assert.EnterMultipleScope())
        {
            Assert.That(answer.GetProperty("tokens").Numbers(), Is.EqualTo(first.ReferenceTokens));
            Assert.That(answer.GetProperty("cached_tokens").GetInt32(), Is.Zero);
            int cached = second.GetProperty("cached_tokens").GetInt32();
            Assert.That(cached, Is.GreaterThanOrEqualTo(answer.GetProperty("prompt_tokens").GetInt32() - 1));
            Assert.That(
                second.GetProperty("trace").GetProperty("rows_by_layer")[0].GetInt32(),
                Is.EqualTo(second.GetProperty("prompt_tokens").GetInt32() - cached));
        }
    }

    [Test]
    public void PicturesCanBeAddedAndForgotten()
    {
        DemoQuestion question = DemoModel.Question("color");
        JsonElement turns = Chat(
            $"hello\n/reset\n/image {question.Image}\n{question.Text}\n/quit\nnever read\n", "--json", "--max-tokens", "8")
            .Json.GetProperty("turns");
        JsonElement alone = Chat(question.Text, "--image", question.Image, "--json").Json.GetProperty("turns")[0];
        using (Assert.EnterMultipleScope())
        {
            Assert.That(turns.GetArrayLength(), Is.EqualTo(2));
            Assert.That(turns[0].GetProperty("visual_tokens").GetInt32(), Is.Zero);
            Assert.That(turns[1].GetProperty("tokens").Numbers(), Is.EqualTo(question.ReferenceTokens));
            Assert.That(
                turns[1].GetProperty("prompt_tokens").GetInt32(), Is.EqualTo(alone.GetProperty("prompt_tokens").GetInt32()),
                "nothing is left of the first turn");
        }
    }

    [Test]
    public void AnswersAreLinesOnStandardOutput()
    {
        DemoQuestion question = DemoModel.Question("presence");
        Outcome outcome = Chat($"{question.Text}\n/policy dense\n/policy\n/trace\n/help\n{question.Text}\n", "--image", question.Image);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(outcome.Code, Is.Zero, outcome.Errors);
            Assert.That(outcome.Output.TrimEnd().Split('\n'), Has.Length.EqualTo(2));
            Assert.That(outcome.Output.Split('\n')[0].Trim(), Is.EqualTo(question.Reference));
            Assert.That(outcome.Errors, Does.Contain("rows by layer").And.Contain("/image FILE").And.Contain("dense"));
            Assert.That(outcome.Errors, Does.Not.Contain("> "), "no prompt where no terminal is");
        }
    }

    [TestCase("/image none.png", 3)]
    [TestCase("/policy nope", 2)]
    [TestCase("/dance", 2)]
    public void FromAPipeAnErrorEndsIt(string line, int code)
    {
        Outcome outcome = Chat($"{line}\nhello\n");
        using (Assert.EnterMultipleScope())
        {
            Assert.That(outcome.Code, Is.EqualTo(code));
            Assert.That(outcome.Output, Is.Empty);
            Assert.That(outcome.Errors, Does.StartWith("error: "));
        }
    }

    private static Outcome Chat(string input, params string[] more) =>
        Parvts.RunWithInput(input, ["chat", "--model", DemoModel.Model, .. more]);
}
