using System.Globalization;

namespace ParVts.Engine.Scheduling.Policies;

/// <summary>
/// ParVTS (arXiv 2511.18875; SCHEDULES.md section 1): the class token's attention splits the visual tokens into a subject
/// and the rest. Each group runs with its own copy of the question through the first layers; then the copies are fused
/// and the rest is dropped. Which block's attention, its mean over heads, and the defaults of migrate and fuse are ours.
/// <para>
/// Where no visual token would be left for the second path (keep is all of them, or more) there is nothing to run
/// beside the first: every token stays, and the trace says so. With migrate=0 the two copies of the question are still
/// the same rows, so the rest is dropped before layer 0.
/// </para>
/// </summary>
internal sealed class ParVtsPolicy : VisualTokenPolicy
{
    internal const string ScoreName = "class-token attention";

    // What tuning tries: every rule, and weights from one half up. The whole weight is left out: it equals migrate=0, which
    // is cheaper, and there every rule is the same.
    private static readonly string[] s_fusions = ["mean", "w:0.6", "w:0.7", "w:0.8", "w:0.9", "mass", "lse"];

    private readonly VisualChoice _choice;
    private readonly LayerParameter _migrate;
    private readonly string _fuse;
    private readonly float _weight = 0.5f;
    private bool _split;

    private ParVtsPolicy(PolicyParameters parameters)
    {
        _choice = new VisualChoice(parameters);
        _migrate = new LayerParameter(parameters, "parvts", "migrate", minimum: 0);
        _fuse = parameters.Text("fuse");
        if (_fuse.StartsWith("w:", StringComparison.Ordinal))
        {
            bool isNumber = float.TryParse(_fuse.AsSpan(2), NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out _weight);
            if (!isNumber || !(_weight is >= 0 and <= 1))
                throw parameters.Refuse("fuse");
        }
        else
        {
            _ = parameters.Choice("fuse", "mean", "mass", "lse");
        }
    }

    public static PolicyInfo Info { get; } = new(
        "parvts",
        "runs the question beside two groups of visual tokens, fuses the two, drops the lesser group",
        "ParVTS, arXiv 2511.18875",
        [
            VisualChoice.Parameters[0],
            new("migrate", "3", "a layer, from 0 to the last", "the layer at whose entry the paths are fused (the default is of 32 layers, scaled to the model's)"),
            new("fuse", "mean", "mean, w:X with X from 0 to 1, mass, or lse", "the first path's weight: one half, X, its share of the class token's attention, or by each question row's attention mass"),
            VisualChoice.Parameters[1],
        ],
        parameters => new ParVtsPolicy(parameters))
    {
        Budget = budget => $"keep={budget.Count}",
        Page = new()
        {
            Title = "ParVTS",
            Acts = "before the decoder (split) up to the entry of `migrate` (fusion)",
            Cache = "prefix, subject and text in every layer",
            Idea = """
                The vision tower's class token tells a picture's subject from the rest. Two paths of one prefill let the question
                read both, so that what it needs of the rest migrates into its own rows; then the rest can go.
                """,
            Rule = """
                - `a_j` is the class token's attention on patch j: softmax over all tokens, mean over heads, in the block whose
                  output feeds the projector. The `keep` patches of highest `a_j` are the subject, the others the rest, both in
                  raster order.
                - Before layer `migrate` the rows are `[prefix | subject | question A | rest | question B]`. Each copy of the
                  question sees the prefix and its own visual tokens; both have the same positions. The prefix is computed once.
                - At the entry of `migrate` the copies are fused on the residual stream, `w·A + (1−w)·B`. The rest and copy B leave
                  with their keys and values; what follows is an ordinary prefill. Layers before keep the keys and values of path A.
                - `fuse` gives `w`: one half (`mean`); X (`w:X`); the share of the patches' `a_j` that the subject holds (`mass`);
                  or, for each question row, the mean over heads of `σ(lse_A − lse_B)`, the log-sum-exp of its scaled logits over
                  its own path's visual keys, in layer `migrate`−1 (`lse`).
                - Published: 64 of 576 tokens at −70 % FLOPs, 1.77 times as fast.
                - With `migrate=0` it is `cls-prune`; with a budget of all tokens everything stays, as in `dense`.
                """,
            Ours = """
                The publication states the criterion, the top-k, the two copies of the question, a fixed number of layers, fusion
                weights and the drop; it was not readable to us beyond that. Ours are: which block's attention, and the mean over
                heads; without a class token (SigLIP) the mean attention that a patch receives; the shared prefix; the defaults of
                `migrate` and `fuse`; `budget`.
                """,
            Licence = "no code of the authors was at hand",
            Checked = "a reference of our own alone, which runs the two paths apart",
        },
        Settings = (parameters, model) =>
            from migrate in LayerParameter.Choices(parameters, "migrate", minimum: 0, model)
            from fuse in parameters.IsGiven("fuse") || migrate == 0 ? [parameters.Text("fuse")] : s_fusions
            select $"parvts:keep={parameters.Text("keep")},migrate={migrate},fuse={fuse}{new VisualChoice(parameters).Suffix}",
    };

    public override string Name => $"parvts:keep={_choice.Keep},migrate={_migrate.Value},fuse={_fuse}{_choice.Suffix}";

    public override PolicyNeeds Needs => PolicyNeeds.ClassAttention;

    public override IReadOnlyList<PolicySpan> Spans => [new(-1, _migrate.Value, PolicyEffect.Paths)];

    public override void Bind(PolicyModel model)
    {
        _migrate.Bind(model);
        _choice.Bind(model);
    }

    public override void OnVisionTokens(ScheduleState state)
    {
        _split = false;
        int visual = state.Rows.CountOf(RowRole.Visual);
        if (visual == 0)
            return;
        RankGroup[] groups = _choice.Groups(state);
        _split = groups.Sum(group => group.Keep) < visual && _migrate.Value > 0;
        if (_split)
            state.SplitHighest(TokenScore.ClassAttention, groups, ScoreName);
        else
            state.KeepHighest(TokenScore.ClassAttention, groups, ScoreName);
    }

    public override void BeforeLayer(ScheduleState state)
    {
        if (!_split)
            return;
        if (state.Layer == _migrate.Value - 1 && _fuse == "lse")
            state.ProbePathWeights();
        if (state.Layer != _migrate.Value)
            return;
        if (_fuse == "lse")
            state.FuseByMass();
        else if (_fuse == "mass")
            state.FuseByShare();
        else
            state.Fuse([_weight]);
    }
}
