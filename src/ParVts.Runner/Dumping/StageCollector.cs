using System.Globalization;
using ParVts.Engine.Compute;
using ParVts.Engine.Formats;
using ParVts.Engine.Generation;
using ParVts.Engine.Scheduling;
using ParVts.Runner.Options;

namespace ParVts.Runner.Dumping;

/// <summary>
/// Collects what the stages of a run put out. A stage may speak several times (a picture each, a step each): its
/// pieces are stacked in the order in which they came.
/// </summary>
internal sealed class StageCollector(Request request, Session session, StageSelection selection)
{
    private readonly Dictionary<string, Pieces> _pieces = [];
    private readonly List<TensorToWrite> _indices = [];

    /// <summary>Takes a stage's tensor; it is copied, and only if it is wanted.</summary>
    public void Receive(string stage, Tensor tensor)
    {
        if (stage == "inputs_embeds" && selection.Contains("rope"))
            _indices.Add(TensorToWrite.Of("rope", Widen(session.Rows.Rope), session.Rows.Count, 3));
        if (stage.StartsWith("hidden.", StringComparison.Ordinal))
        {
            string rows = $"rows.{stage["hidden.".Length..]}";
            if (selection.Contains(rows))
                _indices.Add(TensorToWrite.Of(rows, Tokens(session.Rows), session.Rows.Count));
        }

        if (!selection.Contains(stage))
            return;
        if (!_pieces.TryGetValue(stage, out Pieces? pieces))
            _pieces[stage] = pieces = new Pieces(tensor.Rows, tensor.Columns);
        pieces.Values.Add(Copy(tensor));
    }

    /// <summary>Every tensor of the dump, once the run is over.</summary>
    public IReadOnlyList<TensorToWrite> Finish(GenerationResult result)
    {
        var tensors = new List<TensorToWrite>();
        foreach ((string stage, Pieces pieces) in _pieces)
            tensors.Add(TensorToWrite.Of(stage, [.. pieces.Values.SelectMany(values => values)], Shape(stage, pieces)));
        tensors.AddRange(_indices);
        AddIntegers(tensors, "input_ids", Widen(request.Prompt.Ids));
        AddIntegers(tensors, "tokens", [.. result.Tokens.Select(token => (long)token)]);
        AddIntegers(tensors, "kv_lengths", Widen(result.Trace.KvRowsByLayer));
        AddChoices(tensors, result.Trace);
        return tensors;
    }

    // Visual tokens wherever they became fewer, and what was ranked there.
    private void AddChoices(List<TensorToWrite> tensors, ScheduleTrace trace)
    {
        int alive = trace.Visual;
        foreach (IGrouping<int, ScheduleEvent> choices in trace.Events.GroupBy(choice => choice.Layer))
        {
            // Before the decoder and at layer 0 are one place here: what counts is what enters the layer.
            ScheduleEvent last = choices.Last();
            string layer = choices.Key.ToString(CultureInfo.InvariantCulture);
            if (last.Kept.Count != alive)
                AddIntegers(tensors, $"kept.{layer}", [.. last.Kept.Select(token => (long)token)]);
            alive = last.Kept.Count;
            if (choices.LastOrDefault(choice => choice.Scores.Count > 0) is { } ranked && selection.Contains($"scores.{layer}"))
                tensors.Add(TensorToWrite.Of($"scores.{layer}", [.. ranked.Scores], ranked.Scores.Count));
        }
    }

    private void AddIntegers(List<TensorToWrite> tensors, string name, long[] values)
    {
        if (selection.Contains(name))
            tensors.Add(TensorToWrite.Of(name, values, values.Length));
    }

    private long[] Shape(string stage, Pieces pieces)
    {
        int count = pieces.Values.Count;
        return stage switch
        {
            // The tower's input is a matrix of 3·H rows.
            "pixel_values" => [count, 3, pieces.Rows / 3, pieces.Columns],
            "vision_features" => [count, pieces.Rows, pieces.Columns],
            _ => [(long)count * pieces.Rows, pieces.Columns],
        };
    }

    private float[] Copy(Tensor tensor)
    {
        float[] values = new float[tensor.Rows * tensor.Columns];
        for (int row = 0; row < tensor.Rows; row++)
            session.Device.Download(tensor.Slice(row, 1), values.AsSpan(row * tensor.Columns, tensor.Columns));
        return values;
    }

    private static long[] Tokens(RowBatch rows)
    {
        long[] tokens = new long[rows.Count];
        for (int row = 0; row < tokens.Length; row++)
            tokens[row] = rows.Rows[row].Token;
        return tokens;
    }

    private static long[] Widen(ReadOnlySpan<int> values)
    {
        long[] wide = new long[values.Length];
        for (int i = 0; i < values.Length; i++)
            wide[i] = values[i];
        return wide;
    }

    private sealed record Pieces(int Rows, int Columns)
    {
        public List<float[]> Values { get; } = [];
    }
}
