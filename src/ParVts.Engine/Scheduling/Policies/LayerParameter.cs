namespace ParVts.Engine.Scheduling.Policies;

/// <summary>
/// A parameter that names a decoder layer. Published defaults are for 32 layers; where a model has another depth they are
/// scaled in proportion.
/// </summary>
internal sealed class LayerParameter
{
    private const int PublishedLayers = 32;

    private readonly PolicyParameters _parameters;
    private readonly string _policy;
    private readonly string _name;
    private readonly int _minimum;

    public LayerParameter(PolicyParameters parameters, string policy, string name, int minimum)
    {
        _parameters = parameters;
        _policy = policy;
        _name = name;
        _minimum = minimum;
        Value = parameters.Integer(name, minimum);
    }

    /// <summary>The layer; final after <see cref="Bind"/>.</summary>
    public int Value { get; private set; }

    /// <summary>The layer that is given, or every layer that may be.</summary>
    public static IEnumerable<int> Choices(PolicyParameters parameters, string name, int minimum, PolicyModel model) =>
        parameters.IsGiven(name) ? [parameters.Integer(name, minimum)] : Enumerable.Range(minimum, model.Layers - minimum);

    /// <summary>Scales a default; refuses a layer that the model does not have.</summary>
    public void Bind(PolicyModel model)
    {
        if (!_parameters.IsGiven(_name))
        {
            int scaled = (int)Math.Round((double)_parameters.Integer(_name, _minimum) * model.Layers / PublishedLayers);
            Value = Math.Max(_minimum, Math.Min(Math.Max(1, scaled), model.Layers - 1));
        }

        if (Value >= model.Layers)
        {
            throw new PolicyException(
                $"policy '{_policy}': {_name}={Value} is beyond the model's last layer; {_name} is {_minimum} to {model.Layers - 1} here");
        }
    }
}
