using System.Diagnostics;
using ParVts.Engine.Text;

namespace ParVts.Engine.Tests.Text;

/// <summary>A prompt of 1 MB takes less than a second, whatever it holds, and twice as much takes about twice as long.</summary>
public class TokenizerSpeedTests
{
    private const string Prose = "The quick brown fox, aged 7, can't jump over 13 lazy dogs — naïve, isn't it? 日本語も。\n";

    [TestCaseSource(nameof(Cases))]
    public void A_megabyte_in_a_second(string folder, string kind)
    {
        Tokenizer tokenizer = TokenizerGoldenTests.Load(folder);
        string text = Make(kind, 1 << 20);
        tokenizer.Encode(text[..10_000]);
        double one = Best(tokenizer, text);
        double two = Best(tokenizer, Make(kind, 2 << 20));
        Assert.That(one, Is.LessThan(1.0), "seconds for 1 MB");
        Assert.That(two, Is.LessThan(3.0 * one + 0.05), "seconds for 2 MB, linear");
    }

    private static IEnumerable<TestCaseData> Cases() =>
        from folder in TokenizerGoldenTests.Folders()
        from kind in new[] { "prose", "one letter", "one word", "spaces", "special tokens" }
        select new TestCaseData(folder.Arguments[0], kind).SetArgDisplayNames(Path.GetFileName((string)folder.Arguments[0]!), kind);

    private static string Make(string kind, int length)
    {
        string unit = kind switch
        {
            "prose" => Prose,
            "one letter" => "a",
            "one word" => "abcdefghijklmnopqrstuvwxyzhello",
            "spaces" => " ",
            _ => "<s></s><image><|im_start|>",
        };
        return string.Concat(Enumerable.Repeat(unit, length / unit.Length + 1))[..length];
    }

    private static double Best(Tokenizer tokenizer, string text)
    {
        double best = double.MaxValue;
        for (int i = 0; i < 2; i++)
        {
            long start = Stopwatch.GetTimestamp();
            tokenizer.Encode(text);
            best = Math.Min(best, Stopwatch.GetElapsedTime(start).TotalSeconds);
        }

        return best;
    }
}
