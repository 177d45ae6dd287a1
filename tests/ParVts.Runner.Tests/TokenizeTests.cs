using System.Text.Json;

namespace ParVts.Runner.Tests;

public sealed class TokenizeTests
{
    [Test]
    public void TextBecomesTheLibrarysIdsAndBack()
    {
        JsonElement[] cases = [.. Cases().Where(c => c.GetProperty("text").GetString()!.Length < 500).Take(200)];
        string texts = string.Join('\n', cases.Select(c => $"{{\"text\": {c.GetProperty("text").GetRawText()}}}"));
        string ids = string.Join('\n', cases.Select(c => $"{{\"ids\": {c.GetProperty("ids_without_special").GetRawText()}}}"));
        JsonElement[] answers = Lines(texts + "\n\n" + ids + "\n");
        Assert.That(answers, Has.Length.EqualTo(2 * cases.Length));
        using (Assert.EnterMultipleScope())
        {
            for (int i = 0; i < cases.Length; i++)
            {
                JsonElement encoded = answers[i];
                JsonElement decoded = answers[cases.Length + i];
                string name = cases[i].GetProperty("text").GetRawText();
                Assert.That(encoded.GetProperty("ids").Numbers(), Is.EqualTo(cases[i].GetProperty("ids").Numbers()), name);
                Assert.That(encoded.GetProperty("ids_without_special").Numbers(), Is.EqualTo(cases[i].GetProperty("ids_without_special").Numbers()), name);
                if (cases[i].TryGetProperty("ids_special_tokens_as_text", out JsonElement asText))
                    Assert.That(encoded.GetProperty("ids_special_tokens_as_text").Numbers(), Is.EqualTo(asText.Numbers()), name);
                Assert.That(decoded.GetProperty("text").GetString(), Is.EqualTo(cases[i].GetProperty("decoded").GetString()), name);
                Assert.That(
                    decoded.GetProperty("text_skip_special").GetString(), Is.EqualTo(cases[i].GetProperty("decoded_skip_special").GetString()), name);
            }
        }
    }

    [TestCase("{\"text\": 5}")]
    [TestCase("{\"ids\": [1, \"2\"]}")]
    [TestCase("[1]")]
    [TestCase("nonsense")]
    public void AMalformedLineIsNamed(string line)
    {
        Outcome outcome = Parvts.RunWithInput($"{{\"text\": \"a\"}}\n{line}\n", "tokenize", "--tokenizer", DemoModel.Model);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(outcome.Code, Is.EqualTo(3));
            Assert.That(outcome.Errors, Does.StartWith("error: standard input, line 2: "));
            Assert.That(outcome.Output.TrimEnd().Split('\n'), Has.Length.EqualTo(1), "what came before is answered");
        }
    }

    private static JsonElement[] Cases()
    {
        string json = File.ReadAllText(Path.Combine(TestData.Golden("tokenizers/demo"), "cases.json"));
        return [.. JsonDocument.Parse(json).RootElement.EnumerateArray()];
    }

    private static JsonElement[] Lines(string input)
    {
        Outcome outcome = Parvts.RunWithInput(input, "tokenize", "--tokenizer", Path.Combine(DemoModel.Model, "tokenizer.json"));
        Assert.That(outcome.Code, Is.Zero, outcome.Errors);
        return [.. outcome.Output.TrimEnd().Split('\n').Select(line => JsonDocument.Parse(line).RootElement)];
    }
}
