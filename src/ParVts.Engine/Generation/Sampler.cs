using ParVts.Engine.Compute;

namespace ParVts.Engine.Generation;

/// <summary>
/// Chooses the next token: repetition penalty, temperature, top-k, top-p, min-p, in the order of transformers'
/// processors, then one draw of a seeded generator. Greedy ties go to the lower id. Allocates nothing once made. A GPU makes the
/// same choices (kernels/sample.cu).
/// </summary>
internal sealed class Sampler
{
    private readonly GenerationOptions _options;
    private readonly ulong[] _weights;
    private readonly ulong[] _sorted;
    private readonly bool[] _seen;
    private int _count;
    private ulong _state;

    public Sampler(GenerationOptions options, int vocabulary)
    {
        _options = options;
        _state = options.Seed;
        _seen = new bool[options.RepetitionPenalty == 1f ? 0 : vocabulary];
        _weights = new ulong[options.Temperature == 0f ? 0 : vocabulary];
        _sorted = new ulong[_weights.Length];
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

        // Beside an infinite logit nothing else has a probability; where all are minus infinity, nothing has.
        bool certain = best < 0 || _options.Temperature == 0f || float.IsInfinity(logits[best]);
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

    // The tokens that stay are those of the highest weights, by weight and then by id: those above the weight `last`, and the first
    // `ties` that have it. They are drawn from in the order of their ids.
    private int Draw(ReadOnlySpan<float> logits, int best)
    {
        ulong total = Weigh(logits, best);
        ulong last = 1;
        int ties = int.MaxValue;
        if (_options.TopK > 0 && _options.TopK < _count)
            (last, ties, total) = KeepTop(_options.TopK);
        if (_options.TopP < 1f)
            (last, ties) = KeepMass(Math.BigMul(total, SampleWeight.Share(_options.TopP), out _) + 1, total);
        ulong least = SampleWeight.Least(_options.MinP);
        return least > last ? Pick(least, int.MaxValue) : Pick(last, ties);
    }

    // Weighs every token; returns the sum.
    private ulong Weigh(ReadOnlySpan<float> logits, int best)
    {
        float inverse = SampleWeight.Inverse(_options.Temperature);
        ulong total = 0;
        _count = 0;
        for (int id = 0; id < logits.Length; id++)
        {
            ulong weight = SampleWeight.Of((logits[id] - logits[best]) * inverse);
            _weights[id] = weight;
            if (weight == 0)
                continue;
            _sorted[_count++] = weight;
            total += weight;
        }

        return total;
    }

    private (ulong Last, int Ties, ulong Total) KeepTop(int keep)
    {
        Span<ulong> sorted = _sorted.AsSpan(0, _count);
        sorted.Sort();
        Span<ulong> top = sorted[^keep..];
        ulong total = 0;
        foreach (ulong weight in top)
            total += weight;
        return (top[0], top.LastIndexOf(top[0]) + 1, total);
    }

    private (ulong Last, int Ties) KeepMass(ulong target, ulong total)
    {
        // What is so improbable that all of it together lies outside the share need not be sorted.
        ulong negligible = (total - target) / (ulong)_count;
        int count = 0;
        for (int i = 0; i < _count; i++)
        {
            if (_sorted[i] >= negligible)
                _sorted[count++] = _sorted[i];
        }

        Span<ulong> sorted = _sorted.AsSpan(0, count);
        sorted.Sort();
        ulong mass = 0;
        int first = count;
        while (mass < target)
            mass += sorted[--first];
        ulong last = sorted[first];
        int end = first + 1;
        while (end < count && sorted[end] == last)
            end++;
        return (last, end - first);
    }

    private int Pick(ulong last, int ties)
    {
        ulong total = 0;
        int left = ties;
        foreach (ulong weight in _weights)
        {
            if (weight > last || (weight == last && left-- > 0))
                total += weight;
        }

        ulong point = Math.BigMul(NextRandom(), total, out _);
        left = ties;
        for (int id = 0; ; id++)
        {
            ulong weight = _weights[id];
            if (weight <= last && (weight != last || left-- <= 0))
                continue;
            if (point < weight)
                return id;
            point -= weight;
        }
    }

    // SplitMix64: small, seeded, the same on every platform.
    private ulong NextRandom()
    {
        _state += 0x9E3779B97F4A7C15;
        ulong z = _state;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
        return z ^ (z >> 31);
    }
}
