using System.Text.Json;
using System.Text.Json.Serialization;
using ParVts.Engine.Scheduling;

namespace ParVts.Runner.Explaining;

/// <summary>
/// All that <c>parvts explain</c> shows: the object that the page reads, member by member, names in snake case. A picture
/// makes extra + width × height visual tokens of the grid: the extra ones, then its patches in raster order.
/// </summary>
internal sealed record ExplainData
{
    /// <summary>The model's name, for people.</summary>
    public required string Model { get; init; }

    /// <summary>What it ran on.</summary>
    public required string Device { get; init; }

    /// <summary>The policy with its parameters.</summary>
    public required string Policy { get; init; }

    /// <summary>What was asked.</summary>
    public required string Question { get; init; }

    /// <summary>The answer under the policy.</summary>
    public required string Answer { get; init; }

    /// <summary>The dense policy's answer.</summary>
    public required string DenseAnswer { get; init; }

    /// <summary>KL(dense ‖ policy) of the two distributions of the first new token, in nats.</summary>
    public required double Kl { get; init; }

    /// <summary>The likeliest first tokens under the policy, falling.</summary>
    public required IReadOnlyList<ExplainToken> Top { get; init; }

    /// <summary>The same under the dense policy.</summary>
    public required IReadOnlyList<ExplainToken> DenseTop { get; init; }

    /// <summary>Milliseconds of the policy's prefill, of one run.</summary>
    public required double PrefillMs { get; init; }

    /// <summary>Milliseconds of the dense prefill, of one run.</summary>
    public required double DensePrefillMs { get; init; }

    /// <summary>Rows before the first picture.</summary>
    public required int Prefix { get; init; }

    /// <summary>Visual rows, of all pictures.</summary>
    public required int Visual { get; init; }

    /// <summary>Text rows after the first picture.</summary>
    public required int Text { get; init; }

    /// <summary>Visual tokens of one picture.</summary>
    public required ExplainGrid Grid { get; init; }

    /// <summary>Bytes that one row takes in one layer's KV store.</summary>
    public required long KvRowBytes { get; init; }

    /// <summary>The pictures, as the model sees them.</summary>
    public required IReadOnlyList<ExplainImage> Images { get; init; }

    /// <summary>What each layer computed and keeps.</summary>
    public required IReadOnlyList<ExplainLayer> Layers { get; init; }

    /// <summary>The policy's decisions, in order.</summary>
    public required IReadOnlyList<ScheduleEvent> Events { get; init; }
}

/// <summary>A token's text and probability.</summary>
internal sealed record ExplainToken(string Text, double P);

/// <summary>A picture's visual tokens.</summary>
/// <param name="Width">Columns of patches.</param>
/// <param name="Height">Rows of patches.</param>
/// <param name="Extra">Tokens before the patches: 1 where the model keeps the class token, else 0.</param>
internal sealed record ExplainGrid(int Width, int Height, int Extra = 0)
{
    /// <summary>Visual tokens of a picture.</summary>
    public int Tokens => Extra + Width * Height;
}

/// <summary>A picture: a name for people, and a PNG as a data: URI.</summary>
internal sealed record ExplainImage(string Name, string Png);

/// <summary>Counts of one layer's prefill.</summary>
/// <param name="Rows">Rows computed.</param>
/// <param name="Keys">Rows whose keys and values were computed.</param>
/// <param name="Pairs">Visible query-key pairs of one head.</param>
/// <param name="KvRows">Rows in the KV store after the prefill.</param>
/// <param name="Flops">FLOPs.</param>
internal record ExplainCounts(long Rows, long Keys, long Pairs, long KvRows, long Flops);

/// <summary>One layer under the policy, and beside it under the dense policy.</summary>
internal sealed record ExplainLayer(long Rows, long Keys, long Pairs, long KvRows, long Flops, ExplainCounts Dense)
    : ExplainCounts(Rows, Keys, Pairs, KvRows, Flops);

/// <summary>
/// How the object is written. The default encoder writes every character that means something in HTML as \u003C and its
/// like, so that no text can end the script element that holds it. Numbers that JSON lacks become texts.
/// </summary>
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower,
    NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals,
    Converters = [typeof(ScheduleEventKindJson)])]
[JsonSerializable(typeof(ExplainData))]
internal sealed partial class ExplainJson : JsonSerializerContext;

/// <summary>An event's kind as the page knows it: <c>select</c>, <c>split</c>, <c>fuse</c>, <c>leave</c>, <c>merge</c>, <c>measure</c>.</summary>
internal sealed class ScheduleEventKindJson() : JsonStringEnumConverter<ScheduleEventKind>(JsonNamingPolicy.CamelCase);
