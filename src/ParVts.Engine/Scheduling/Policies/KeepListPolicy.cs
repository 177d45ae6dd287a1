namespace ParVts.Engine.Scheduling.Policies;

/// <summary>
/// Keeps the visual tokens that the host names, before the decoder or at the entry of a layer; all others leave there, all of them where
/// none is named. Tokens are counted from 0 over the pictures of a prefill, one after the other, each in raster order; in every prefill that
/// has pictures the same numbers stay. One instance serves one session.
/// </summary>
public sealed class KeepListPolicy : VisualTokenPolicy
{
    // Where a layer is not given.
    private const int BeforeDecoder = -1;

    private readonly int _layer;
    private readonly int[] _tokens;
    private readonly bool _isGiven = true;

    /// <summary>Keeps these tokens, before the decoder.</summary>
    /// <param name="tokens">Visual tokens in any order, each once; none takes all of them out.</param>
    /// <exception cref="PolicyException">A token is negative or given twice; it is named.</exception>
    public KeepListPolicy(IEnumerable<int> tokens)
        : this(tokens, BeforeDecoder)
    {
    }

    /// <summary>Keeps these tokens from the entry of a layer on.</summary>
    /// <param name="tokens">Visual tokens in any order, each once; none takes all of them out.</param>
    /// <param name="layer">The layer, 0-based; −1 for before the decoder.</param>
    /// <exception cref="PolicyException">A token or the layer is negative, or a token is given twice; it is named.</exception>
    public KeepListPolicy(IEnumerable<int> tokens, int layer)
    {
        if (layer < BeforeDecoder)
            throw new PolicyException($"policy 'keep': layer {layer} is not there; layers are counted from 0, and -1 is before the decoder");
        _layer = layer;
        _tokens = TokenList.Order(tokens);
    }

    private KeepListPolicy(PolicyParameters parameters)
        : this(TokenList.Parse(parameters, "tokens"), parameters.Text("layer") == "before" ? BeforeDecoder : parameters.Integer("layer", 0)) =>
        _isGiven = parameters.IsGiven("tokens");

    internal static PolicyInfo Info { get; } = new(
        "keep",
        "keeps the visual tokens that the host names, from a layer on; all others leave there",
        "ours: the choice is the host's",
        [
            new("tokens", "", TokenList.Allowed, "visual tokens that stay, counted from 0 over the pictures of a prefill in raster order"),
            new("layer", "before", "before or a layer, from 0 to the last", "at whose entry the others leave; before: they never enter the decoder"),
        ],
        parameters => new KeepListPolicy(parameters))
    {
        Page = new()
        {
            Title = "Keep-list",
            Acts = "before the decoder, or entry of `layer`",
            Cache = "full before `layer`; from it on prefix, the tokens that stay and text",
            Idea = """
                Whoever knows better than any score which visual tokens matter (a detector, a pointer, a criterion under study) names them.
                """,
            Rule = """
                - At the entry of `layer`, or before the decoder, the visual rows that `tokens` does not name leave.
                - Tokens are counted from 0 over the pictures of a prefill, one after the other, each in raster order. A token that is not there
                  is an error that names it.
                - `tokens=` with nothing behind it takes all of them out.
                """,
            Ours = "All of it.",
            Licence = "ours",
            Checked = "a reference of our own alone",
        },
    };

    /// <inheritdoc/>
    public override string Name =>
        "keep:" + (_layer == BeforeDecoder ? "" : $"layer={_layer},") + $"tokens={TokenList.Write(_tokens)}";

    /// <summary>
    /// Nothing else may choose before it: its numbers are those of all visual tokens. Where it keeps none, they leave.
    /// </summary>
    public override IReadOnlyList<PolicySpan> Spans => _tokens.Length == 0
        ? [new(_layer, _layer, PolicyEffect.Leave)]
        : [new(BeforeDecoder, _layer, PolicyEffect.Select)];

    /// <inheritdoc/>
    public override void Bind(PolicyModel model)
    {
        if (!_isGiven)
            throw new PolicyException("policy 'keep' needs the tokens that stay; write keep:tokens=0-3/9, keep:tokens=@FILE.json, or keep:tokens= for none");
        if (_layer >= model.Layers)
            throw new PolicyException($"policy 'keep': layer={_layer} is beyond the model's last layer; layer is 0 to {model.Layers - 1} here, or before");
    }

    /// <inheritdoc/>
    public override void OnVisionTokens(ScheduleState state)
    {
        int visual = state.Rows.CountOf(RowRole.Visual);
        if (visual == 0)
            return;
        if (_tokens.Length > 0 && _tokens[^1] >= visual)
            throw new PolicyException($"policy 'keep': token {_tokens.First(token => token >= visual)} is not there; the pictures make the visual tokens 0 to {visual - 1}");
        if (_layer == BeforeDecoder)
            state.Keep(_tokens);
    }

    /// <inheritdoc/>
    public override void BeforeLayer(ScheduleState state)
    {
        if (state.Layer == _layer && state.Rows.CountOf(RowRole.Visual) > 0)
            state.Keep(_tokens);
    }
}
