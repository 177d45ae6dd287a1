using ParVts.Engine.Text;
using ParVts.Runner.Explaining;

namespace ParVts.Runner;

/// <summary>Distributions of the first new token.</summary>
internal static class TokenDistribution
{
    /// <summary>The logarithms of the probabilities that logits stand for, at temperature 1.</summary>
    private static double[] LogProbabilities(IReadOnlyList<float> logits)
    {
        double highest = logits.Max();
        double log = highest + Math.Log(logits.Sum(logit => Math.Exp(logit - highest)));
        return [.. logits.Select(logit => logit - log)];
    }

    /// <summary>KL(p ‖ q) in nats of the distributions that two models' logits stand for; never below 0.</summary>
    public static double Divergence(IReadOnlyList<float> p, IReadOnlyList<float> q)
    {
        double[] logP = LogProbabilities(p);
        double[] logQ = LogProbabilities(q);
        double sum = 0;
        for (int i = 0; i < logP.Length; i++)
        {
            // What p excludes adds nothing, even where q excludes it too.
            double probability = Math.Exp(logP[i]);
            if (probability != 0)
                sum += probability * (logP[i] - logQ[i]);
        }

        // Rounding may leave a hair less than 0. NaN stays.
        return sum < 0 ? 0 : sum;
    }

    /// <summary>The likeliest tokens, falling; the lower id first where two are alike.</summary>
    public static IReadOnlyList<ExplainToken> Top(IReadOnlyList<float> logits, int count, Tokenizer tokenizer)
    {
        double[] logarithms = LogProbabilities(logits);
        return
        [
            .. Enumerable.Range(0, logarithms.Length)
                .OrderByDescending(id => logarithms[id])
                .Take(count)
                .Select(id => new ExplainToken(TextOf(id, tokenizer), Math.Exp(logarithms[id]))),
        ];
    }

    /// <summary>A token's text as it stands inside a sentence: many decoders drop the space of the first one.</summary>
    private static string TextOf(int id, Tokenizer tokenizer)
    {
        string text = tokenizer.Decode([id, id])[tokenizer.Decode([id]).Length..];
        return text.Length > 0 ? text : tokenizer.IdToToken(id) ?? "";
    }
}
