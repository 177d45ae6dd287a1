using System.Numerics.Tensors;

namespace ParVts.Engine.Generation;

/// <summary>
/// Looks at the raw logits of each step, before a token is chosen, and gathers log-probabilities. All memory is taken in the
/// beginning. One caller at a time.
/// </summary>
internal sealed class LogitsObserver
{
    private readonly LogitsSink? _sink;
    private readonly float[] _raw;
    private readonly float[] _shares;
    private readonly float[] _chosen;
    private readonly int[] _topIds;
    private readonly float[] _top;
    private readonly int _alternatives;
    private readonly bool _gathers;
    private int _steps;
    private int _tokens;
    private float _largest;
    private double _logSum;

    private LogitsObserver(int vocabulary, int limit, int? alternatives, LogitsSink? sink)
    {
        _sink = sink;
        _gathers = alternatives is not null;
        _alternatives = alternatives ?? 0;
        _raw = new float[vocabulary];
        _shares = new float[_gathers ? vocabulary : 0];
        _chosen = new float[_gathers ? limit : 0];
        _topIds = new int[limit * _alternatives];
        _top = new float[limit * _alternatives];
    }

    /// <summary>An observer where somebody wants to know; else null, and nothing is looked at.</summary>
    public static LogitsObserver? Create(int vocabulary, int limit, int? alternatives, LogitsSink? sink) =>
        alternatives is null && sink is null ? null : new LogitsObserver(vocabulary, limit, alternatives, sink);

    /// <summary>Bytes that <see cref="Create"/> takes.</summary>
    public static long BytesFor(int vocabulary, int limit, int? alternatives) =>
        alternatives is int k ? sizeof(float) * (2L * vocabulary + limit * (1 + 2L * k)) : 0;

    /// <summary>The raw logits of the coming step.</summary>
    public void Look(ReadOnlySpan<float> logits)
    {
        logits.CopyTo(_raw);
        _sink?.Invoke(_steps++, _raw);
        if (!_gathers)
            return;
        _largest = Largest(_raw);
        TensorPrimitives.Subtract(_raw, _largest, _shares);
        TensorPrimitives.Exp(_shares, _shares);
        double sum = 0;
        for (int id = 0; id < _raw.Length; id++)
            sum += _raw[id] == float.PositiveInfinity ? 1 : float.IsNaN(_shares[id]) ? 0 : _shares[id];
        _logSum = Math.Log(sum);
        FindTop(_topIds.AsSpan(_tokens * _alternatives, _alternatives), _top.AsSpan(_tokens * _alternatives, _alternatives));
    }

    /// <summary>The token that was chosen of them.</summary>
    public void Choose(int token)
    {
        if (_gathers)
            _chosen[_tokens++] = Of(_raw[token]);
    }

    /// <summary>What was gathered; null where nobody asked.</summary>
    public LogProbabilities? Finish() => _gathers ? new LogProbabilities(_tokens, _alternatives, _chosen, _topIds, _top) : null;

    // Beside an infinite logit nothing else has a probability.
    private float Of(float logit) => float.IsInfinity(_largest)
        ? logit == float.PositiveInfinity ? (float)-_logSum : float.NegativeInfinity
        : (float)((double)logit - _largest - _logSum);

    private static float Largest(ReadOnlySpan<float> logits)
    {
        float largest = float.NegativeInfinity;
        foreach (float logit in logits)
            largest = logit > largest ? logit : largest;
        return largest;
    }

    private void FindTop(Span<int> ids, Span<float> values)
    {
        ids.Fill(-1);
        values.Fill(float.NegativeInfinity);
        int count = 0;
        for (int id = 0; id < _raw.Length; id++)
        {
            float logit = _raw[id];
            if (float.IsNaN(logit) || (count == ids.Length && (count == 0 || logit <= values[^1])))
                continue;
            int place = Math.Min(count, ids.Length - 1);
            while (place > 0 && values[place - 1] < logit)
            {
                (ids[place], values[place]) = (ids[place - 1], values[place - 1]);
                place--;
            }

            (ids[place], values[place]) = (id, logit);
            count = Math.Min(count + 1, ids.Length);
        }

        for (int place = 0; place < count; place++)
            values[place] = Of(values[place]);
    }
}
