namespace ParVts.Engine.Scheduling;

/// <summary>What a policy wants measured; a run whose policy needs nothing stays on the fully fused path (contract P).</summary>
[Flags]
public enum PolicyNeeds
{
    /// <summary>Nothing.</summary>
    None = 0,

    /// <summary>
    /// The class token's attention to each patch in the feature block of the vision tower, or the stated stand-in
    /// (<see cref="ScheduleState.ClassAttention"/>).
    /// </summary>
    ClassAttention = 1,

    /// <summary>Layers in which visual rows are not computed (<see cref="ScheduleState.FreezeVisual"/>).</summary>
    FrozenRows = 2,

    /// <summary>Rows compared with each other (<see cref="ScheduleState.Similarity"/>).</summary>
    Similarity = 4,

    /// <summary>What each key adds to the last row's attention (<see cref="ScheduleState.ProbeValues"/>).</summary>
    Values = 8,

    /// <summary>Attention head by head (<see cref="ScheduleState.ProbeHeads"/>).</summary>
    HeadScores = 16,

    /// <summary>Keys of the vision tower compared with each other (<see cref="VisionState.KeySimilarity"/>).</summary>
    VisionKeys = 32,

    /// <summary>More rows than the last may be named in a probe.</summary>
    ManyProbes = 64,
}

/// <summary>What a policy is told about the model, before anything runs.</summary>
/// <param name="Layers">Decoder layers.</param>
/// <param name="RowTile">Rows that the device works on at a time (<see cref="Compute.ComputeDevice.RowTile"/>).</param>
public sealed record PolicyModel(int Layers, int RowTile)
{
    /// <summary>Elements of a decoder row.</summary>
    public int HiddenSize { get; init; } = 1;

    /// <summary>Query heads of a decoder layer.</summary>
    public int Heads { get; init; } = 1;

    /// <summary>The decoder's rotary frequencies, head_dim / 2 of them.</summary>
    public IReadOnlyList<float> RopeFrequencies { get; init; } = [];

    /// <summary>Patches in a row of a picture's grid.</summary>
    public int PatchesAcross { get; init; } = 1;

    /// <summary>The vision tower has a class token.</summary>
    public bool HasClassToken { get; init; } = true;
}

/// <summary>What a part of a policy does, for judging whether two policies may be stacked.</summary>
public enum PolicyEffect
{
    /// <summary>Chooses some of the visual tokens that are there; over a span, wherever in it what is measured says so.</summary>
    Select,

    /// <summary>Runs two paths from <see cref="PolicySpan.From"/> to <see cref="PolicySpan.To"/>.</summary>
    Paths,

    /// <summary>Takes every visual token out.</summary>
    Leave,

    /// <summary>Merges rows in the vision tower, so that what is measured there no longer fits the tokens one by one.</summary>
    Merge,

    /// <summary>Leaves the visual tokens as they are, but changes how layers see or compute them.</summary>
    View,

    /// <summary>A <see cref="View"/> in which visual tokens see their neighbours: a picture's grid must be whole.</summary>
    Grid,

    /// <summary>Measures rows, for a choice later.</summary>
    Measure,

    /// <summary>Wants every visual token to stay in every layer.</summary>
    KeepAll,
}

/// <summary>Where in the model a policy acts.</summary>
/// <param name="From">The layer at whose entry it begins; −1 before the decoder.</param>
/// <param name="To">The layer at whose entry it is over; equal to <paramref name="From"/> for what happens at an entry alone.</param>
/// <param name="Effect">What it does.</param>
public readonly record struct PolicySpan(int From, int To, PolicyEffect Effect);

/// <summary>
/// Decides what becomes of visual tokens (contract P). A policy decides with indices and scores; it never touches
/// device memory or launches work (P1): the engine carries its decisions out. One instance serves one session, one
/// call at a time. It is also asked without a run, to plan one (<see cref="OnVisionTokens"/> and <see cref="BeforeLayer"/>, with scores
/// of zero); so what it remembers it starts anew in <see cref="OnVisionTokens"/>, or with a picture's first block.
/// <para>
/// A host writes its own by deriving from it, and gives it to <see cref="Generation.Engine.CreateSession(VisualTokenPolicy)"/>. What a hook
/// throws ends the call of <see cref="Generation.Session.Generate"/>; the session can be used again.
/// </para>
/// </summary>
/// <example>
/// Half of the visual tokens leave at the entry of layer 2: those that the prompt's last row looked at least in layer 1.
/// <code>
/// sealed class LastRow : VisualTokenPolicy
/// {
///     public override string Name => "last-row";
///
///     public override IReadOnlyList&lt;PolicySpan&gt; Spans => [new(2, 2, PolicyEffect.Select)];
///
///     public override void BeforeLayer(ScheduleState state)
///     {
///         int visual = state.AliveVisual().Length;
///         if (visual == 0)
///             return;
///         if (state.Layer == 1)
///             state.Probe([state.Rows.Count - 1]);
///         if (state.Layer == 2)
///             state.KeepHighest(TokenScore.RowAttention, [new RankGroup(0, visual, visual / 2)], "last row's attention");
///     }
/// }
///
/// using Session session = engine.CreateSession(new LastRow());
/// </code>
/// </example>
public abstract class VisualTokenPolicy
{
    /// <summary>
    /// The policy string that makes it again, defaults filled in; of a host's own policy, a name that tells its settings apart: a saved
    /// session is restored under the same name alone.
    /// </summary>
    public abstract string Name { get; }

    /// <summary>What is to be measured for it.</summary>
    public virtual PolicyNeeds Needs => PolicyNeeds.None;

    /// <summary>
    /// False where what stays depends on what is measured, or rows merge in the vision tower: memory is then planned as if
    /// everything stayed (contract D4, P2).
    /// </summary>
    public virtual bool SizesAreKnown => true;

    /// <summary>
    /// False where survivors keep their rotary positions. True (*compact* in SCHEDULES.md): in every layer positions run 0, 1, 2
    /// … without gaps, behind what its store holds, and a decoded token's position is the layer's own KV length.
    /// </summary>
    public virtual bool CompactPositions => false;

    /// <summary>
    /// Where it acts; valid after <see cref="Bind"/>. Stacks are judged by it, pictures that are given as embeddings, and whether a later
    /// turn may be cut back into this one.
    /// </summary>
    public abstract IReadOnlyList<PolicySpan> Spans { get; }

    /// <summary>Learns the model: fills defaults in and refuses values that are beyond it.</summary>
    /// <exception cref="PolicyException">A parameter does not fit the model; the message says what does.</exception>
    public virtual void Bind(PolicyModel model)
    {
    }

    /// <summary>
    /// Within the vision tower: after the attention of block <see cref="VisionState.Block"/> of a picture, before its
    /// MLP; and once after the last block. Rows may be merged there.
    /// </summary>
    public virtual void InVisionLayer(VisionState state)
    {
    }

    /// <summary>
    /// Before the decoder, once a prefill, also where it has no visual tokens: all rows of the prompt are there,
    /// <see cref="ScheduleState.Layer"/> is −1. May keep or split visual tokens.
    /// </summary>
    public virtual void OnVisionTokens(ScheduleState state)
    {
    }

    /// <summary>
    /// At the entry of decoder layer <see cref="ScheduleState.Layer"/> (0-based): may drop rows, fuse paths, change who
    /// sees whom (<see cref="ScheduleState.Plan"/> is the causal plan of the rows as they are) and ask for a probe.
    /// </summary>
    public virtual void BeforeLayer(ScheduleState state)
    {
    }

    /// <summary>
    /// True where a decode step's row does not simply see every key: <see cref="PlanStep"/> then says what it sees. Such steps are not
    /// recorded.
    /// </summary>
    public virtual bool PlansSteps => false;

    /// <summary>What the row of a decode step sees in a layer; only where <see cref="PlansSteps"/>.</summary>
    /// <param name="layer">The layer.</param>
    /// <param name="state">The cache; the row itself is the key <see cref="DecodeState.KvRows"/>, counted from 0.</param>
    /// <param name="plan">One query row and all keys, the row's own included, in one full range; to be replaced.</param>
    public virtual void PlanStep(int layer, DecodeState state, Compute.AttentionPlan plan)
    {
    }

    /// <summary>True where the coming decode step is to measure its row's attention (<see cref="DecodeState.Attention"/>).</summary>
    /// <param name="step">The step, from 1.</param>
    public virtual bool ProbesStep(int step) => false;

    /// <summary>After the prefill (step 0), and after each decode step: may thin a layer's cache.</summary>
    public virtual void OnDecodeStep(DecodeState state)
    {
    }
}
