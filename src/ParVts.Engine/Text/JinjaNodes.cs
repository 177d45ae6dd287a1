using System.Globalization;
using System.Text;

namespace ParVts.Engine.Text;

/// <summary>
/// A rendering under way: variables, the text so far, and the limits that keep a template from running away. Values are
/// null (none), bool, long, string, List&lt;object?&gt;, Dictionary&lt;string, object?&gt; and <see cref="Undefined"/>.
/// </summary>
internal sealed class JinjaContext(string file)
{
    public const int LongestOutput = 16 << 20;
    private const int MostSteps = 1_000_000;
    private readonly List<Dictionary<string, object?>> _scopes = [[]];
    private int _steps;

    public StringBuilder Output { get; } = new();

    public object? this[string name]
    {
        get
        {
            for (int i = _scopes.Count - 1; i >= 0; i--)
            {
                if (_scopes[i].TryGetValue(name, out object? value))
                    return value;
            }

            return Undefined.Value;
        }
        set => _scopes[^1][name] = value;
    }

    public void Push() => _scopes.Add([]);

    public void Pop() => _scopes.RemoveAt(_scopes.Count - 1);

    public void Step()
    {
        if (++_steps > MostSteps)
            throw Fail("the template runs for too long");
    }

    public void Write(string text)
    {
        if (Output.Length + text.Length > LongestOutput)
            throw Fail($"the rendered text is longer than {LongestOutput} characters");
        Output.Append(text);
    }

    public ModelFormatException Fail(string message) => new(
        file, "chat_template", $"{message}. Choose a built-in template by its name instead (--template NAME)");
}

/// <summary>A name that stands for nothing; it renders as nothing.</summary>
internal sealed class Undefined
{
    public static readonly Undefined Value = new();

    private Undefined()
    {
    }
}

internal abstract record JinjaStatement
{
    public abstract void Run(JinjaContext context);
}

internal sealed record TextNode(string Text) : JinjaStatement
{
    public override void Run(JinjaContext context) => context.Write(Text);
}

internal sealed record OutputNode(JinjaExpression Value) : JinjaStatement
{
    public override void Run(JinjaContext context) => context.Write(JinjaValue.ToText(Value.Evaluate(context)));
}

internal sealed record BlockNode(JinjaStatement[] Body) : JinjaStatement
{
    public override void Run(JinjaContext context)
    {
        foreach (JinjaStatement statement in Body)
        {
            context.Step();
            statement.Run(context);
        }
    }
}

internal sealed record IfNode((JinjaExpression? Condition, BlockNode Body)[] Branches) : JinjaStatement
{
    public override void Run(JinjaContext context)
    {
        foreach ((JinjaExpression? condition, BlockNode body) in Branches)
        {
            if (condition is not null && !JinjaValue.IsTrue(condition.Evaluate(context)))
                continue;
            body.Run(context);
            return;
        }
    }
}

internal sealed record SetNode(string Name, string? Attribute, JinjaExpression Value) : JinjaStatement
{
    public override void Run(JinjaContext context)
    {
        object? value = Value.Evaluate(context);
        if (Attribute is null)
            context[Name] = value;
        else if (context[Name] is Dictionary<string, object?> space)
            space[Attribute] = value;
        else
            throw context.Fail($"'{Name}' is not a namespace");
    }
}

internal sealed record ForNode(string[] Names, JinjaExpression Items, JinjaExpression? Filter, BlockNode Body, BlockNode? Else) : JinjaStatement
{
    public override void Run(JinjaContext context)
    {
        List<object?> items = JinjaValue.Items(Items.Evaluate(context), context);
        if (Filter is not null)
            items = Filtered(items, context);
        if (items.Count == 0)
            Else?.Run(context);
        for (int i = 0; i < items.Count; i++)
        {
            context.Step();
            context.Push();
            Bind(items[i], context);
            context["loop"] = new Dictionary<string, object?>
            {
                ["index"] = i + 1L,
                ["index0"] = (long)i,
                ["revindex"] = (long)(items.Count - i),
                ["revindex0"] = (long)(items.Count - i - 1),
                ["first"] = i == 0,
                ["last"] = i == items.Count - 1,
                ["length"] = (long)items.Count,
                ["previtem"] = i > 0 ? items[i - 1] : Undefined.Value,
                ["nextitem"] = i + 1 < items.Count ? items[i + 1] : Undefined.Value,
            };
            Body.Run(context);
            context.Pop();
        }
    }

    private List<object?> Filtered(List<object?> items, JinjaContext context)
    {
        var kept = new List<object?>();
        foreach (object? item in items)
        {
            context.Push();
            Bind(item, context);
            if (JinjaValue.IsTrue(Filter!.Evaluate(context)))
                kept.Add(item);
            context.Pop();
        }

        return kept;
    }

    private void Bind(object? item, JinjaContext context)
    {
        if (Names.Length == 1)
        {
            context[Names[0]] = item;
            return;
        }

        List<object?> parts = JinjaValue.Items(item, context);
        if (parts.Count != Names.Length)
            throw context.Fail($"an item of {parts.Count} parts cannot be taken apart into {Names.Length} names");
        for (int i = 0; i < Names.Length; i++)
            context[Names[i]] = parts[i];
    }
}

/// <summary>What can be done with values of all types.</summary>
internal static class JinjaValue
{
    public static bool IsTrue(object? value) => value switch
    {
        null or Undefined => false,
        bool flag => flag,
        long number => number != 0,
        string text => text.Length > 0,
        List<object?> list => list.Count > 0,
        Dictionary<string, object?> map => map.Count > 0,
        _ => true,
    };

    public static string ToText(object? value) => value switch
    {
        null => "None",
        Undefined => "",
        bool flag => flag ? "True" : "False",
        long number => number.ToString(CultureInfo.InvariantCulture),
        string text => text,
        List<object?> list => "[" + string.Join(", ", list.Select(Quoted)) + "]",
        Dictionary<string, object?> map =>
            "{" + string.Join(", ", map.Select(entry => $"{Quoted(entry.Key)}: {Quoted(entry.Value)}")) + "}",
        _ => "",
    };

    public static bool AreEqual(object? left, object? right)
    {
        if (left is bool a && right is long b)
            return (a ? 1 : 0) == b;
        if (left is List<object?> x && right is List<object?> y)
            return x.Count == y.Count && x.Zip(y).All(pair => AreEqual(pair.First, pair.Second));
        return Equals(left, right);
    }

    public static List<object?> Items(object? value, JinjaContext context) => value switch
    {
        List<object?> list => list,
        Dictionary<string, object?> map => [.. map.Keys],
        string text => [.. text.Select(character => (object?)character.ToString())],
        Undefined => [],
        _ => throw context.Fail($"'{ToText(value)}' cannot be gone through"),
    };

    public static object? Member(object? value, object? key) => (value, key) switch
    {
        (Dictionary<string, object?> map, string name) => map.TryGetValue(name, out object? found) ? found : Undefined.Value,
        (List<object?> list, long index) => At(list.Count, index) is int place ? list[place] : Undefined.Value,
        (string text, long index) => At(text.Length, index) is int place ? text[place].ToString() : Undefined.Value,
        _ => Undefined.Value,
    };

    public static bool Contains(object? container, object? item) => container switch
    {
        string text => item is string part && text.Contains(part, StringComparison.Ordinal),
        List<object?> list => list.Any(entry => AreEqual(entry, item)),
        Dictionary<string, object?> map => item is string key && map.ContainsKey(key),
        _ => false,
    };

    private static int? At(int count, long index)
    {
        long place = index < 0 ? index + count : index;
        return place >= 0 && place < count ? (int)place : null;
    }

    private static string Quoted(object? value) => value is string text ? "'" + text + "'" : ToText(value);
}
