using ParVts.Engine.Compute;
using ParVts.Engine.Formats;
using ParVts.Engine.Scheduling;

namespace ParVts.Engine.Models;

/// <summary>The activations of a decoder pass over at most so many rows.</summary>
internal sealed class DecoderWorkspace
{
    /// <summary>Lays the tensors out; what <paramref name="arena"/> holds from here on may share memory with other stages.</summary>
    /// <param name="arena">The memory.</param>
    /// <param name="config">The model.</param>
    /// <param name="input">The type of matrix inputs.</param>
    /// <param name="rows">Rows of a pass, at most.</param>
    /// <param name="keys">Keys that a probe sees, at most; 0 where there are no probes and no changes of rows.</param>
    /// <param name="needs">What the policy wants measured.</param>
    public DecoderWorkspace(Arena arena, TextConfig config, TensorType input, int rows, int keys, PolicyNeeds needs)
    {
        int query = config.Heads * config.HeadDim;
        int keyValue = config.KeyValueHeads * config.HeadDim;
        Hidden = arena.Take(TensorType.F32, rows, config.HiddenSize);
        Ids = arena.Take(TensorType.I32, 1, rows);
        Positions = arena.Take(TensorType.I32, rows, 3);
        Frequencies = arena.Take(TensorType.F32, 1, config.HeadDim / 2);
        Logits = arena.Take(TensorType.F32, 1, config.VocabularySize);
        ClassScores = keys > 0 ? arena.Take(TensorType.F32, 1, rows) : default;
        Shared = arena.Mark;
        Rotary = arena.Take(TensorType.F32, rows, config.HeadDim);
        Normed = arena.Take(input, rows, config.HiddenSize);
        if (keys > 0)
        {
            OtherIds = arena.Take(TensorType.I32, 1, rows);
            Weights = arena.Take(TensorType.F32, 1, rows);
            LogSumExp = arena.Take(TensorType.F32, rows, config.Heads);
            Scores = arena.Take(TensorType.F32, 1, keys);
            Places = arena.Take(TensorType.I32, PendingChoices, rows);
            RankedScores = arena.Take(TensorType.F32, PendingChoices, rows);
            RankedRows = arena.Take(TensorType.I32, 1, rows);
            MovedPositions = arena.Take(TensorType.F32, rows, 3) with { Stride = 3 };
        }

        if (needs.HasFlag(PolicyNeeds.Values))
        {
            ValueSums = arena.Take(TensorType.F32, 1, 2 * keys + 1);
            LastAttended = arena.Take(TensorType.F32, 1, query);
        }

        if (needs.HasFlag(PolicyNeeds.HeadScores))
            HeadScores = arena.Take(TensorType.F32, 1, config.Heads * keys);
        bool compares = needs.HasFlag(PolicyNeeds.Similarity);
        if (compares)
        {
            MeanKeys = arena.Take(TensorType.F32, rows, config.HeadDim);
            Offsets = arena.Take(TensorType.I32, 1, rows + 1);
        }

        if (needs.HasFlag(PolicyNeeds.FrozenRows))
        {
            Computed = arena.Take(TensorType.F32, rows, config.HiddenSize);
            ComputedRotary = arena.Take(TensorType.F32, rows, config.HeadDim);
        }

        // The attention's tensors and the MLP's never live at once.
        long mark = arena.Mark;
        Query = arena.Take(TensorType.F32, rows, query);
        Key = arena.Take(TensorType.F32, rows, keyValue);
        Value = arena.Take(TensorType.F32, rows, keyValue);
        Attended = arena.Take(input, rows, query);
        arena.Return(mark);
        if (compares)
        {
            // At the entry of a layer, where neither lives.
            Left = arena.Take(TensorType.F32, rows, config.HiddenSize);
            Right = arena.Take(TensorType.F32, rows, config.HiddenSize);
            Products = arena.Take(TensorType.F32, rows, rows);
            arena.Return(mark);
        }

        Moved = input == TensorType.F32 ? Normed : arena.Take(TensorType.F32, rows, config.HiddenSize);
        arena.Return(mark);
        Gate = arena.Take(TensorType.F32, rows, config.IntermediateSize);
        Up = arena.Take(TensorType.F32, rows, config.IntermediateSize);
        Inner = input == TensorType.F32 ? Gate : arena.Take(input, rows, config.IntermediateSize);
    }

    /// <summary>Choices that may wait to be read back.</summary>
    public const int PendingChoices = 4;

    /// <summary>Where memory begins that other stages may use between passes.</summary>
    public long Shared { get; }

    /// <summary>The residual stream.</summary>
    public Tensor Hidden { get; }

    public Tensor Ids { get; }

    public Tensor Positions { get; }

    public Tensor Frequencies { get; }

    public Tensor Logits { get; }

    public Tensor Rotary { get; }

    public Tensor Normed { get; }

    /// <summary>Between layers, where rows of the residual stream are gathered into.</summary>
    public Tensor Moved { get; }

    /// <summary>The second list of rows of a fusion.</summary>
    public Tensor OtherIds { get; }

    /// <summary>A weight a row, for a fusion.</summary>
    public Tensor Weights { get; }

    public Tensor LogSumExp { get; }

    public Tensor Scores { get; }

    /// <summary>The class token's attention to the visual tokens of all pictures.</summary>
    public Tensor ClassScores { get; }

    /// <summary>A line a choice: the places that stay, then the others.</summary>
    public Tensor Places { get; }

    /// <summary>A line a choice: what was ranked.</summary>
    public Tensor RankedScores { get; }

    /// <summary>Where rows of positions are gathered into.</summary>
    public Tensor MovedPositions { get; }

    /// <summary>Rows of the visual tokens that are ranked.</summary>
    public Tensor RankedRows { get; }

    /// <summary>VisiPruner's sums: A of each key, B of each key, and S.</summary>
    public Tensor ValueSums { get; }

    /// <summary>The last row's attention output in float32.</summary>
    public Tensor LastAttended { get; }

    /// <summary>[heads, keys], packed: one row's attention.</summary>
    public Tensor HeadScores { get; }

    /// <summary>[rows, head_dim]: a layer's keys, mean over KV heads.</summary>
    public Tensor MeanKeys { get; }

    /// <summary>Of a merge.</summary>
    public Tensor Offsets { get; }

    /// <summary>Rows that are compared.</summary>
    public Tensor Left { get; }

    /// <summary>Rows that they are compared with.</summary>
    public Tensor Right { get; }

    /// <summary>What comparing them gives, packed.</summary>
    public Tensor Products { get; }

    /// <summary>The rows that a frozen layer computes.</summary>
    public Tensor Computed { get; }

    public Tensor ComputedRotary { get; }

    public Tensor Query { get; }

    public Tensor Key { get; }

    public Tensor Value { get; }

    public Tensor Attended { get; }

    public Tensor Gate { get; }

    public Tensor Up { get; }

    /// <summary>The MLP's inner rows, as a matrix takes them; where that is float32, they are <see cref="Gate"/>.</summary>
    public Tensor Inner { get; }
}
