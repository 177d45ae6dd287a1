using System.Text.Json;
using ParVts.Engine.Generation;

namespace ParVts.Engine.Tests.Generation;

/// <summary>The demo model's answers against those of transformers in float32, question by question.</summary>
public class DemoEvaluationTests
{
    [Test]
    public void Answers_equal_the_reference()
    {
        using Session session = DemoModel.Engine.CreateSession();
        int questions = 0;
        var different = new List<string>();
        foreach (JsonElement question in DemoModel.Questions())
        {
            string picture = Path.Combine(
                Path.GetDirectoryName(DemoModel.EvaluationFile)!, question.GetProperty("image").GetString()!);
            string text = question.GetProperty("question").GetString()!;
            GenerationResult result = session.Generate(
                DemoModel.Ask(text, picture), new GenerationOptions { MaxTokens = 8 });
            int[] expected = [.. question.GetProperty("reference_tokens").EnumerateArray().Select(id => id.GetInt32())];
            questions++;
            if (!result.Tokens.SequenceEqual(expected))
                different.Add($"{picture}: {text} → {result.Text}, expected {question.GetProperty("reference_text")}");
        }

        Assert.That(questions, Is.GreaterThanOrEqualTo(100));
        Assert.That(different.Count, Is.LessThanOrEqualTo(questions * 0.005), string.Join('\n', different));
    }
}
