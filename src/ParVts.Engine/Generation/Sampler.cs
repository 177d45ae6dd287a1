using System.Numerics.Tensors;

namespace ParVts.Engine.Generation;

/// <summary>
/// Chooses the next token: repetition penalty, temperature, top-k, top-p, min-p, in the order of transformers'
/// processors, then one draw of a seeded generator. Greedy ties go to the lower id. Allocates nothing once made.
/// </summary>
internal sealed class Sampler
{
    private readonly GenerationOptions _options;
    private readonly float[] _probabilities;
    private readonly int[] _candidates;
    private readonly bool[] _seen;
    private ulong _state;

    public Sampler(GenerationOptions options, int vocabulary)
    {
        _options = options;
        _state = options.Seed;
        _seen = new bool[options.RepetitionPenalty == 1f ? 0 : vocabulary];
        _probabilities = new float[options.Temperature == 0f ? 0 : vocabulary];
        _candidates = new int[_probabilities.Length];
    }

    /// <summary>True once a logit was not a number; such tokens are never chosen.</summary>
    public bool SawNaN { get; private set; }

    /// <summary>Tokens that the repetition penalty counts as seen.</summary>
    public void Observe(ReadOnlySpan<int> tokens)
    {
        if (_seen.Length == 0)
            return;
        foreach (int token in tokens)
            _seen[token] = true;
    }

    /// <summary>The next token, or −1 where no logit is a number. <paramref name="logits"/> is overwritten.</summary>
    public int Next(Span<float> logits)
    {
        for (int id = 0; id < _seen.Length; id++)
        {
            if (_seen[id])
                logits[id] = logits[id] > 0 ? logits[id] / _options.RepetitionPenalty : logits[id] * _options.RepetitionPenalty;
        }

        int best = Largest(logits);

        // Beside an infinite logit nothing else has a probability.
        bool certain = best < 0 || _options.Temperature == 0f || float.IsPositiveInfinity(logits[best]);
        int chosen = certain ? best : Draw(logits, best);
        if (_seen.Length > 0 && chosen >= 0)
            _seen[chosen] = true;
        return chosen;
    }

    private int Largest(ReadOnlySpan<float> logits)
    {
        int best = -1;
        float largest = float.NegativeInfinity;
        for (int id = 0; id < logits.Length; id++)
        {
            float logit = logits[id];
            if (logit > largest || (best < 0 && logit == largest))
            {
                best = id;
                largest = logit;
            }
            else if (float.IsNaN(logit))
            {
                SawNaN = true;
            }
        }

        return best;
    }

    private int Draw(ReadOnlySpan<float> logits, int best)
    {
        int count = Candidates(logits, best);
        if (_options.TopK > 0 && _options.TopK < count)
            count = KeepTop(count, _options.TopK);
        if (_options.TopP < 1f)
            count = KeepMass(count, _options.TopP);
        if (_options.MinP > 0f)
            count = KeepAbove(count, _options.MinP * TensorPrimitives.Max<float>(_probabilities.AsSpan(0, count)));

        double total = 0;
        for (int i = 0; i < count; i++)
            total += _probabilities[i];
        double point = NextDouble() * total;
        for (int i = 0; i < count - 1; i++)
        {
            point -= _probabilities[i];
            if (point < 0)
                return _candidates[i];
        }

        return _candidates[count - 1];
    }

    // Unnormalised probabilities, and the tokens they belong to.
    private int Candidates(ReadOnlySpan<float> logits, int best)
    {
        int count = 0;
        for (int id = 0; id < logits.Length; id++)
        {
            float probability = MathF.Exp((logits[id] - logits[best]) / _options.Temperature);
            if (!(probability > 0f))
                continue;
            _candidates[count] = id;
            _probabilities[count++] = probability;
        }

        return count;
    }

    private int KeepTop(int count, int keep)
    {
        Sort(count);
        return Math.Min(keep, count);
    }

    private int KeepMass(int count, float share)
    {
        double total = 0;
        for (int i = 0; i < count; i++)
            total += _probabilities[i];

        // What is so improbable that all of it together lies outside the share need not be sorted.
        count = KeepAbove(count, (float)((1 - share) * total / count));
        Sort(count);
        double mass = 0;
        for (int i = 0; i < count; i++)
        {
            mass += _probabilities[i];
            if (mass >= share * total)
                return i + 1;
        }

        return count;
    }

    private int KeepAbove(int count, float least)
    {
        int kept = 0;
        for (int i = 0; i < count; i++)
        {
            if (_probabilities[i] < least)
                continue;
            _probabilities[kept] = _probabilities[i];
            _candidates[kept++] = _candidates[i];
        }

        return kept;
    }

    // Descending, the lower id first among equals.
    private void Sort(int count)
    {
        Span<float> probabilities = _probabilities.AsSpan(0, count);
        Span<int> candidates = _candidates.AsSpan(0, count);
        for (int i = 0; i < count; i++)
            probabilities[i] = -probabilities[i];
        probabilities.Sort(candidates);
        for (int i = 0; i < count;)
        {
            int end = i + 1;
            while (end < count && probabilities[end] == probabilities[i])
                end++;
            candidates[i..end].Sort();
            for (; i < end; i++)
                probabilities[i] = -probabilities[i];
        }
    }

    // SplitMix64: small, seeded, the same on every platform.
    private double NextDouble()
    {
        _state += 0x9E3779B97F4A7C15;
        ulong z = _state;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
        z ^= z >> 31;
        return (z >> 11) * (1.0 / (1UL << 53));
    }
}
