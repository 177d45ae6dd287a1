using System.Globalization;
using ParVts.Engine.Formats;

namespace ParVts.Engine.Generation.Saving;

/// <summary>
/// What a saved session says of itself before its keys and values: a safetensors header's texts, and the small tensors. The format's
/// names stand here.
/// </summary>
/// <param name="Model">The model's fingerprint.</param>
/// <param name="Policy">The policy string.</param>
/// <param name="KeyValueType">The type of keys and values.</param>
internal sealed record SavedSession(string Model, string Policy, TensorType KeyValueType)
{
    /// <summary>[tokens] I64: the tokens that the cache stands for.</summary>
    public const string Ids = "ids";

    /// <summary>[turns, columns] I64: which beginnings the store can be cut back to (<see cref="CachedTurns"/>).</summary>
    public const string Turns = "turns";

    /// <summary>[pictures, 4] I64: SHA-256 of each picture's values.</summary>
    public const string Pictures = "pictures";

    /// <summary>The current version of the format.</summary>
    private const int Version = 1;

    private const string Kind = "parvts-session";

    /// <summary>[pages, 2, KV heads, 64, head_dim padded]: a layer's keys and values; rows behind its length are zero.</summary>
    public static string Layer(int layer) => "kv." + layer.ToString(CultureInfo.InvariantCulture);

    /// <summary>The header's texts.</summary>
    public Dictionary<string, string> ToMetadata() => new()
    {
        ["format"] = Kind,
        ["version"] = Version.ToString(CultureInfo.InvariantCulture),
        ["model"] = Model,
        ["policy"] = Policy,
        ["kv_type"] = KeyValueType.Name(),
    };

    /// <summary>Holds a header's texts against the session that is to take it up.</summary>
    /// <exception cref="SavedSessionException">They are of something else.</exception>
    public void Require(IReadOnlyDictionary<string, string> metadata)
    {
        if (Text(metadata, "format") != Kind)
            throw new SavedSessionException(SavedSessionProblem.Damaged, $"does not say that it is one ('format' is '{Short(Text(metadata, "format"))}'): this is something else");
        RequireSame(SavedSessionProblem.Version, metadata, "version", Version.ToString(CultureInfo.InvariantCulture), "of version '{0}' of the format; version {1} is read");
        RequireSame(SavedSessionProblem.Model, metadata, "model", Model, "of another model (its fingerprint is {0}, this model's {1})");
        RequireSame(SavedSessionProblem.Policy, metadata, "policy", Policy, "of a session with the policy '{0}'; this one has '{1}'. Set the policy first");
        RequireSame(SavedSessionProblem.KeyValueType, metadata, "kv_type", KeyValueType.Name(), "with keys and values of type '{0}'; this device keeps {1}. Restore it on a device of the kind that saved it");
    }

    private static void RequireSame(SavedSessionProblem problem, IReadOnlyDictionary<string, string> metadata, string key, string expected, string message)
    {
        string found = Text(metadata, key);
        if (found != expected)
            throw new SavedSessionException(problem, "is " + string.Format(CultureInfo.InvariantCulture, message, Short(found), Short(expected)));
    }

    private static string Text(IReadOnlyDictionary<string, string> metadata, string key) => metadata.GetValueOrDefault(key, "");

    private static string Short(string text) => Checked.Excerpt(text);
}
