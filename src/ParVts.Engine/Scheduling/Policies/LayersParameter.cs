using System.Globalization;

namespace ParVts.Engine.Scheduling.Policies;

/// <summary>
/// A parameter that lists decoder layers, "8/16/24". Published defaults are for 32 layers; where a model has another depth they are
/// scaled in proportion, and layers that then coincide count once.
/// </summary>
internal sealed class LayersParameter
{
    private const int PublishedLayers = 32;

    private readonly PolicyParameters _parameters;
    private readonly string _policy;
    private readonly string _name;
    private readonly int _minimum;
    private readonly bool _ascending;

    /// <param name="parameters">Where it is written.</param>
    /// <param name="policy">Whose it is.</param>
    /// <param name="name">Its name.</param>
    /// <param name="minimum">The first layer that may be named.</param>
    /// <param name="ascending">Layers ascend, and there is at least one; else they come in any order, and there may be none.</param>
    public LayersParameter(PolicyParameters parameters, string policy, string name, int minimum, bool ascending)
    {
        _parameters = parameters;
        _policy = policy;
        _name = name;
        _minimum = minimum;
        _ascending = ascending;
        Values = Written();
        Places = [.. Enumerable.Range(0, Values.Length)];
        for (int i = 1; i < Values.Length; i++)
        {
            if (ascending && Values[i] <= Values[i - 1])
                throw parameters.Refuse(name);
        }

        if (Values.Distinct().Count() != Values.Length)
            throw parameters.Refuse(name);
    }

    /// <summary>The layers; final after <see cref="Bind"/>.</summary>
    public int[] Values { get; private set; }

    /// <summary>For each of <see cref="Values"/>, its place in the list as it was written or published.</summary>
    public int[] Places { get; private set; }

    /// <summary>As it is written.</summary>
    public override string ToString() => string.Join('/', Values.Select(layer => layer.ToString(CultureInfo.InvariantCulture)));

    /// <summary>Scales a default; refuses a layer that the model does not have.</summary>
    /// <param name="model">The model.</param>
    /// <param name="byRank">The list is a ranking: a scaled one has as large a share of the layers as the published one, the first of it.</param>
    public void Bind(PolicyModel model, bool byRank = false)
    {
        int[] published = Written();
        bool given = _parameters.IsGiven(_name);
        int[] scaled = given ? published : [.. published.Select(layer => Scale(layer, model.Layers))];
        int most = given || !byRank ? scaled.Length : (int)Math.Round((double)published.Length * model.Layers / PublishedLayers);
        Places = [.. Enumerable.Range(0, scaled.Length).Where(place => Array.IndexOf(scaled, scaled[place]) == place).Take(most)];
        Values = [.. Places.Select(place => scaled[place])];
        foreach (int layer in Values)
        {
            if (layer >= model.Layers)
            {
                throw new PolicyException(
                    $"policy '{_policy}': {_name}={this} names layer {layer}, beyond the model's last; layers are {_minimum} to {model.Layers - 1} here");
            }
        }
    }

    /// <summary>Of another list with an entry for each layer of this one, the entries of the layers that are left.</summary>
    public string Join<T>(IReadOnlyList<T> values)
        where T : IFormattable =>
        string.Join('/', Places.Select(place => values[place].ToString(null, CultureInfo.InvariantCulture)));

    private int[] Written() => _parameters.Integers(_name, _minimum, mayBeEmpty: !_ascending);

    private int Scale(int layer, int layers) =>
        layers == PublishedLayers ? layer : Math.Clamp((int)Math.Round((double)layer * layers / PublishedLayers), _minimum, layers - 1);
}
