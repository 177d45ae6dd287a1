namespace ParVts.Engine.Text;

internal abstract record JinjaExpression
{
    public abstract object? Evaluate(JinjaContext context);
}

internal sealed record Literal(object? Value) : JinjaExpression
{
    public override object? Evaluate(JinjaContext context) => Value;
}

internal sealed record ListLiteral(JinjaExpression[] Items) : JinjaExpression
{
    public override object? Evaluate(JinjaContext context) =>
        new List<object?>(Items.Select(item => item.Evaluate(context)));
}

internal sealed record MapLiteral((JinjaExpression Key, JinjaExpression Value)[] Entries) : JinjaExpression
{
    public override object? Evaluate(JinjaContext context)
    {
        var map = new Dictionary<string, object?>();
        foreach ((JinjaExpression key, JinjaExpression value) in Entries)
            map[JinjaValue.ToText(key.Evaluate(context))] = value.Evaluate(context);
        return map;
    }
}

internal sealed record Variable(string Name) : JinjaExpression
{
    public override object? Evaluate(JinjaContext context) => context[Name];
}

internal sealed record Access(JinjaExpression Target, JinjaExpression Key) : JinjaExpression
{
    public override object? Evaluate(JinjaContext context) =>
        JinjaValue.Member(Target.Evaluate(context), Key.Evaluate(context));
}

internal sealed record Slice(JinjaExpression Target, JinjaExpression? From, JinjaExpression? To, JinjaExpression? By) : JinjaExpression
{
    public override object? Evaluate(JinjaContext context)
    {
        object? target = Target.Evaluate(context);
        List<object?> items = JinjaValue.Items(target, context);
        long step = By is null ? 1 : By.Evaluate(context) as long? ?? 0;
        if (step is not (1 or -1))
            throw context.Fail("a slice with a step other than 1 or -1 is not supported");
        long start = Bound(From, context, items.Count, step > 0 ? 0 : items.Count - 1);
        long end = Bound(To, context, items.Count, step > 0 ? items.Count : -1);
        var result = new List<object?>();
        for (long i = start; (step > 0 ? i < end : i > end) && i >= 0 && i < items.Count; i += step)
            result.Add(items[(int)i]);
        return target is string ? string.Concat(result) : result;
    }

    private static long Bound(JinjaExpression? bound, JinjaContext context, int count, long missing)
    {
        if (bound?.Evaluate(context) is not long value)
            return missing;
        return Math.Clamp(value < 0 ? value + count : value, 0, count);
    }
}

internal sealed record Unary(string Operator, JinjaExpression Operand) : JinjaExpression
{
    public override object? Evaluate(JinjaContext context)
    {
        object? value = Operand.Evaluate(context);
        if (Operator == "not")
            return !JinjaValue.IsTrue(value);
        return value is long number ? unchecked(-number) : throw context.Fail("a minus sign stands before something that is no number");
    }
}

internal sealed record Conditional(JinjaExpression Value, JinjaExpression Condition, JinjaExpression? Otherwise) : JinjaExpression
{
    public override object? Evaluate(JinjaContext context) => JinjaValue.IsTrue(Condition.Evaluate(context))
        ? Value.Evaluate(context)
        : Otherwise is null ? Undefined.Value : Otherwise.Evaluate(context);
}

internal sealed record Binary(string Operator, JinjaExpression Left, JinjaExpression Right) : JinjaExpression
{
    public override object? Evaluate(JinjaContext context)
    {
        object? left = Left.Evaluate(context);
        if (Operator == "and")
            return JinjaValue.IsTrue(left) ? Right.Evaluate(context) : left;
        if (Operator == "or")
            return JinjaValue.IsTrue(left) ? left : Right.Evaluate(context);
        object? right = Right.Evaluate(context);
        return Operator switch
        {
            "==" => JinjaValue.AreEqual(left, right),
            "!=" => !JinjaValue.AreEqual(left, right),
            "in" => JinjaValue.Contains(right, left),
            "not in" => !JinjaValue.Contains(right, left),
            "~" => Join(JinjaValue.ToText(left), JinjaValue.ToText(right), context),
            "+" when left is string a && right is string b => Join(a, b, context),
            "+" when left is List<object?> a && right is List<object?> b => Join(a, b, context),
            _ => Arithmetic(left, right, context),
        };
    }

    private static string Join(string left, string right, JinjaContext context)
    {
        if (left.Length + (long)right.Length > JinjaContext.LongestOutput)
            throw context.Fail("a text grows too long");
        return left + right;
    }

    private static List<object?> Join(List<object?> left, List<object?> right, JinjaContext context)
    {
        if (left.Count + right.Count > 100_000)
            throw context.Fail("a list grows too long");
        return [.. left, .. right];
    }

    private object? Arithmetic(object? left, object? right, JinjaContext context)
    {
        if (left is string a && right is string b && Operator is "<" or ">" or "<=" or ">=")
            return Compare(string.CompareOrdinal(left as string, right as string));
        if (left is not long x || right is not long y)
            throw context.Fail($"'{Operator}' is not possible between '{JinjaValue.ToText(left)}' and '{JinjaValue.ToText(right)}'");
        return Operator switch
        {
            "+" => unchecked(x + y),
            "-" => unchecked(x - y),
            "*" => unchecked(x * y),
            "//" when y is not (0 or -1) => (x - ((x % y) + y) % y) / y,
            "%" when y is not (0 or -1) => ((x % y) + y) % y,
            "%" or "//" when y == -1 => Operator == "%" ? 0L : unchecked(-x),
            "<" or ">" or "<=" or ">=" => Compare(x.CompareTo(y)),
            _ => throw context.Fail($"'{Operator}' is not possible here"),
        };
    }

    private bool Compare(int order) => Operator switch
    {
        "<" => order < 0,
        ">" => order > 0,
        "<=" => order <= 0,
        _ => order >= 0,
    };
}

internal sealed record IsTest(JinjaExpression Value, string Test, JinjaExpression? Argument, bool Negated) : JinjaExpression
{
    public override object? Evaluate(JinjaContext context) =>
        Check(Value.Evaluate(context), Test, Argument?.Evaluate(context), context) != Negated;

    public static bool Check(object? value, string test, object? argument, JinjaContext context) => test switch
    {
        "defined" => value is not Undefined,
        "undefined" => value is Undefined,
        "none" => value is null,
        "string" => value is string,
        "mapping" => value is Dictionary<string, object?>,
        "iterable" or "sequence" => value is List<object?> or string or Dictionary<string, object?>,
        "number" or "integer" => value is long,
        "boolean" => value is bool,
        "true" => value is true,
        "false" => value is false,
        "equalto" or "eq" or "==" => JinjaValue.AreEqual(value, argument),
        "ne" or "!=" => !JinjaValue.AreEqual(value, argument),
        "in" => JinjaValue.Contains(argument, value),
        _ => throw context.Fail($"the test '{test}' is not supported"),
    };
}

/// <summary>A call: of a function, of a method of a value, or of a filter (whose value is the first argument).</summary>
internal sealed record Call(JinjaExpression? Target, string Name, JinjaExpression[] Arguments, (string Name, JinjaExpression Value)[] Named) : JinjaExpression
{
    public override object? Evaluate(JinjaContext context)
    {
        context.Step();
        object?[] arguments = [.. Arguments.Select(argument => argument.Evaluate(context))];
        return Target is null ? Function(arguments, context) : JinjaFunctions.Apply(Name, Target.Evaluate(context), arguments, context);
    }

    private object? Function(object?[] arguments, JinjaContext context)
    {
        switch (Name)
        {
            case "raise_exception":
                throw new RequestException("the model's chat template refuses this: " + JinjaValue.ToText(arguments.FirstOrDefault()));
            case "namespace" or "dict":
                return Named.ToDictionary(entry => entry.Name, entry => entry.Value.Evaluate(context));
            case "range" when arguments is [long count] && count is >= 0 and <= 10_000:
                return new List<object?>(Enumerable.Range(0, (int)count).Select(i => (object?)(long)i));
            default:
                throw context.Fail($"the function '{Name}' is not supported");
        }
    }
}

/// <summary>Filters and methods.</summary>
internal static class JinjaFunctions
{
    public static object? Apply(string name, object? value, object?[] arguments, JinjaContext context)
    {
        if (value is string text && OnText(name, text, arguments, context) is (true, object result))
            return result;
        switch (name)
        {
            case "default" or "d":
                return value is Undefined || (arguments is [_, true] && !JinjaValue.IsTrue(value)) ? arguments.FirstOrDefault("") : value;
            case "string":
                return JinjaValue.ToText(value);
            case "list":
                return new List<object?>(JinjaValue.Items(value, context));
            case "length" or "count":
                return (long)JinjaValue.Items(value, context).Count;
            case "first":
                return JinjaValue.Items(value, context).FirstOrDefault(Undefined.Value);
            case "last":
                return JinjaValue.Items(value, context).LastOrDefault(Undefined.Value);
            case "join":
                return string.Join(
                    JinjaValue.ToText(arguments.FirstOrDefault("")), JinjaValue.Items(value, context).Select(JinjaValue.ToText));
            case "selectattr" or "rejectattr":
                return Select(name == "selectattr", value, arguments, context);
            case "get" when value is Dictionary<string, object?> map:
                return map.GetValueOrDefault(JinjaValue.ToText(arguments.FirstOrDefault()), arguments.ElementAtOrDefault(1));
            case "items" when value is Dictionary<string, object?> map:
                return new List<object?>(map.Select(entry => (object?)new List<object?> { entry.Key, entry.Value }));
            default:
                throw context.Fail($"the filter or method '{name}' is not supported");
        }
    }

    private static List<object?> Select(bool keep, object? value, object?[] arguments, JinjaContext context)
    {
        string attribute = JinjaValue.ToText(arguments.FirstOrDefault());
        return [.. JinjaValue.Items(value, context).Where(item =>
        {
            object? member = JinjaValue.Member(item, attribute);
            bool chosen = arguments.Length < 2
                ? JinjaValue.IsTrue(member)
                : IsTest.Check(member, JinjaValue.ToText(arguments[1]), arguments.ElementAtOrDefault(2), context);
            return chosen == keep;
        })];
    }

    private static (bool Known, object? Result) OnText(string name, string text, object?[] arguments, JinjaContext context)
    {
        string? first = arguments.FirstOrDefault() as string;
        switch (name)
        {
            case "upper":
                return (true, text.ToUpperInvariant());
            case "lower":
                return (true, text.ToLowerInvariant());
            case "capitalize":
                return (true, text.Length == 0 ? text : char.ToUpperInvariant(text[0]) + text[1..].ToLowerInvariant());
            case "trim" or "strip":
                return (true, first is null ? text.Trim() : text.Trim(first.ToCharArray()));
            case "lstrip":
                return (true, first is null ? text.TrimStart() : text.TrimStart(first.ToCharArray()));
            case "rstrip":
                return (true, first is null ? text.TrimEnd() : text.TrimEnd(first.ToCharArray()));
            case "startswith" when first is not null:
                return (true, text.StartsWith(first, StringComparison.Ordinal));
            case "endswith" when first is not null:
                return (true, text.EndsWith(first, StringComparison.Ordinal));
            case "split":
                string[] parts = string.IsNullOrEmpty(first)
                    ? text.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries)
                    : text.Split(first);
                return (true, new List<object?>(parts));
            case "replace" when arguments is [string from, string to, ..] && from.Length > 0:
                if (text.Length / (long)from.Length * Math.Max(1, to.Length) > JinjaContext.LongestOutput)
                    throw context.Fail("a text grows too long");
                return (true, text.Replace(from, to, StringComparison.Ordinal));
            case "length" or "count":
                return (true, (long)text.Length);
            default:
                return (false, null);
        }
    }
}
