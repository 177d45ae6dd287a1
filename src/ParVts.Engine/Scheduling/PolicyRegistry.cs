using ParVts.Engine.Scheduling.Policies;

namespace ParVts.Engine.Scheduling;

/// <summary>A policy that can be asked for by name.</summary>
/// <param name="Name">Its name in a policy string.</param>
/// <param name="Summary">What it does, in a line.</param>
/// <param name="Source">Where it was published.</param>
/// <param name="Parameters">Its parameters.</param>
/// <param name="Create">Makes one from the parameters that were given.</param>
public sealed record PolicyInfo(
    string Name,
    string Summary,
    string Source,
    IReadOnlyList<PolicyParameter> Parameters,
    Func<PolicyParameters, VisualTokenPolicy> Create)
{
    /// <summary>What its page says beside this.</summary>
    public required PolicyPage Page { get; init; }

    /// <summary>The policy string with every default that is not empty.</summary>
    public string Defaults =>
        Name + string.Concat(
            Parameters.Where(parameter => parameter.Default.Length > 0)
                .Select((parameter, i) => $"{(i == 0 ? ':' : ',')}{parameter.Name}={parameter.Default}"));

    /// <summary>
    /// The settings among which tuning looks for a model's own (SCHEDULES.md, section 5), as policy strings: what the
    /// parameters leave open, filled in every way. Null where there is nothing to tune.
    /// </summary>
    public Func<PolicyParameters, PolicyModel, IEnumerable<string>>? Settings { get; init; }

    /// <summary>
    /// The parameter that sets how much of the visual work is left, as a policy string has it ("keep=36"): rising with
    /// <see cref="PolicyBudget.Share"/>, in whatever steps there are. Null where the policy finds its sizes out by itself.
    /// </summary>
    public Func<PolicyBudget, string>? Budget { get; init; }

    /// <summary>
    /// Where a setting is a set of layers and <see cref="Settings"/> name one each: the setting of several of them. Null where settings
    /// exclude each other.
    /// </summary>
    public Func<IReadOnlyList<string>, string>? Together { get; init; }
}

/// <summary>
/// All policies, and the reading of policy strings (contract P5): <c>name</c>, <c>name:key=value,key=value</c>,
/// <c>a+b</c> (stacked), <c>@file.json</c>. Any thread.
/// </summary>
public static class PolicyRegistry
{
    /// <summary>Every policy, in the order of SCHEDULES.md.</summary>
    public static IReadOnlyList<PolicyInfo> All { get; } =
    [
        DensePolicy.Info, ParVtsPolicy.Info, ClassPrunePolicy.Info, FastVPolicy.Info, VtwPolicy.Info, RandomPolicy.Info,
        GridPolicy.Info, VisiPrunerPolicy.Info, ShortVPolicy.Info, ZspaPrunePolicy.Info, VisionDropPolicy.Info, FolderPolicy.Info,
        St3Policy.Info, YopoPolicy.Info, PyramidDropPolicy.Info, SparseVlmPolicy.Info, VisionZipPolicy.Info, DivPrunePolicy.Info,
        DartPolicy.Info, ToMePolicy.Info, PruMergePolicy.Info, ViCaPolicy.Info, DyVtePolicy.Info, CoViPalPolicy.Info,
        KnockoutPolicy.Info, KeepListPolicy.Info,
    ];

    /// <summary>The policy of that name.</summary>
    /// <exception cref="PolicyException">There is none.</exception>
    public static PolicyInfo Find(string name) =>
        All.FirstOrDefault(info => info.Name == name)
        ?? throw new PolicyException(
            $"there is no policy '{name}'; there are: {string.Join(", ", All.Select(info => info.Name))}");

    /// <summary>Makes a policy from its string. It still has to be bound to a model (<see cref="VisualTokenPolicy.Bind"/>).</summary>
    /// <param name="policy">The policy string.</param>
    /// <param name="files">
    /// False where the string comes from somebody who may not read this machine's files, as a server's client: one that names a file is
    /// refused, and nothing is opened.
    /// </param>
    /// <exception cref="PolicyException">An unknown name or parameter, or a value that is not allowed.</exception>
    /// <exception cref="ModelFormatException">A policy file is missing or not JSON.</exception>
    public static VisualTokenPolicy Create(string policy, bool files = true)
    {
        if (policy.StartsWith('@') && !files)
            throw new PolicyException("a policy file is not allowed here; write its policy string instead");
        if (policy.StartsWith('@') && policy.Contains('+', StringComparison.Ordinal) && !File.Exists(policy[1..]))
            throw new PolicyException($"'{policy}': a policy file cannot be stacked with others; write its policy string instead");
        if (policy.StartsWith('@'))
            return Create(PolicyFile.Read(policy[1..]).Policy);
        string[] parts = policy.Split('+', StringSplitOptions.TrimEntries);
        VisualTokenPolicy[] policies = [.. parts.Select(part => CreateOne(part, files))];
        return policies.Length == 1 ? policies[0] : new PolicyStack(policies);
    }

    /// <summary>
    /// The settings that tuning tries for a policy, and how several of them are one where they are not to choose from; parameters
    /// that the string gives stay as they are.
    /// </summary>
    /// <exception cref="PolicyException">The string is wrong, or the policy has nothing to tune.</exception>
    public static (IReadOnlyList<string> Settings, Func<IReadOnlyList<string>, string>? Together) Settings(string policy, PolicyModel model)
    {
        (PolicyInfo info, PolicyParameters parameters) = Read(policy);
        if (info.Settings is null)
        {
            throw new PolicyException(
                $"policy '{info.Name}' has nothing to tune; these have: "
                + string.Join(", ", All.Where(other => other.Settings is not null).Select(other => other.Name)));
        }

        info.Create(parameters).Bind(model);
        return ([.. info.Settings(parameters, model)], info.Together);
    }

    /// <summary>
    /// The policy string with its budget parameter set. Null where there is nothing to set: a stack, a policy file, a policy without
    /// such a parameter, or a string that gives it itself.
    /// </summary>
    /// <param name="policy">The policy string.</param>
    /// <param name="share">From 0, the least, to 1, the most.</param>
    /// <param name="model">The model.</param>
    /// <param name="visualTokens">Visual tokens of a picture.</param>
    /// <exception cref="PolicyException">The string is wrong.</exception>
    public static string? WithBudget(string policy, double share, PolicyModel model, int visualTokens)
    {
        if (policy.StartsWith('@') || policy.Contains('+', StringComparison.Ordinal))
            return null;
        (PolicyInfo info, PolicyParameters parameters) = Read(policy);
        if (info.Budget is null)
            return null;
        string written = info.Budget(new PolicyBudget(Math.Clamp(share, 0, 1), model, visualTokens, parameters));
        return Parse(info, written).Keys.Any(parameters.IsGiven) ? null : $"{policy}{(policy.Contains(':', StringComparison.Ordinal) ? ',' : ':')}{written}";
    }

    private static VisualTokenPolicy CreateOne(string policy, bool files)
    {
        (PolicyInfo info, PolicyParameters parameters) = Read(policy, files);
        return info.Create(parameters);
    }

    private static (PolicyInfo Info, PolicyParameters Parameters) Read(string policy, bool files = true)
    {
        int colon = policy.IndexOf(':');
        PolicyInfo info = Find((colon < 0 ? policy : policy[..colon]).Trim());
        return (info, new PolicyParameters(info, colon < 0 ? [] : Parse(info, policy[(colon + 1)..]), files));
    }

    private static Dictionary<string, string> Parse(PolicyInfo info, string parameters)
    {
        var values = new Dictionary<string, string>();
        foreach (string part in parameters.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries))
        {
            int equals = part.IndexOf('=');
            string name = equals < 0 ? part : part[..equals].TrimEnd();
            if (info.Parameters.All(parameter => parameter.Name != name))
            {
                string allowed = info.Parameters.Count == 0
                    ? "it takes none"
                    : "it takes " + string.Join(", ", info.Parameters.Select(p => $"{p.Name} ({p.Allowed}; default {p.Default})"));
                throw new PolicyException($"policy '{info.Name}' has no parameter '{name}'; {allowed}");
            }

            if (equals < 0)
                throw new PolicyException($"policy '{info.Name}': parameter '{name}' has no value; write {name}=…");
            if (!values.TryAdd(name, part[(equals + 1)..].TrimStart()))
                throw new PolicyException($"policy '{info.Name}': parameter '{name}' is given twice");
        }

        return values;
    }
}
