using ParVts.Engine.Text;

namespace ParVts.Runner.Explaining;

/// <summary>Distributions of the first new token.</summary>
internal static class FirstToken
{
    /// <summary>The logarithms of the probabilities that logits stand for, at temperature 1.</summary>
    public static double[] LogProbabilities(IReadOnlyList<float> logits)
    {
        double highest = logits.Max();
        double log = highest + Math.Log(logits.Sum(logit => Math.Exp(logit - highest)));
        return [.. logits.Select(logit => logit - log)];
    }

    /// <summary>KL(p ‖ q) of two distributions given as logarithms, in nats; never below 0.</summary>
    public static double Divergence(double[] p, double[] q)
    {
        double sum = 0;
        for (int i = 0; i < p.Length; i++)
        {
            // What p excludes adds nothing, even where q excludes it too.
            if (!double.IsNegativeInfinity(p[i]))
                sum += Math.Exp(p[i]) * (p[i] - q[i]);
        }

        return double.IsNaN(sum) ? sum : Math.Max(sum, 0);
    }

    /// <summary>The likeliest tokens, falling; the lower id first where two are alike.</summary>
    public static IReadOnlyList<ExplainToken> Top(double[] logProbabilities, int count, Tokenizer tokenizer) =>
    [
        .. Enumerable.Range(0, logProbabilities.Length)
            .OrderByDescending(id => logProbabilities[id])
            .Take(count)
            .Select(id => new ExplainToken(TextOf(id, tokenizer), Math.Exp(logProbabilities[id]))),
    ];

    /// <summary>A token's text as it stands inside a sentence: many decoders drop the space of the first one.</summary>
    private static string TextOf(int id, Tokenizer tokenizer)
    {
        string text = tokenizer.Decode([id, id])[tokenizer.Decode([id]).Length..];
        return text.Length > 0 ? text : tokenizer.IdToToken(id) ?? "";
    }
}
