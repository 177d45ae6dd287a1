using System.Globalization;

namespace ParVts.Engine.Text;

/// <content>Expressions, from the loosest operator to the tightest.</content>
internal sealed partial class JinjaParser
{
    private JinjaExpression ParseExpression()
    {
        Enter();
        JinjaExpression value = ParseOr();
        if (TakeName("if"))
        {
            JinjaExpression condition = ParseOr();
            value = new Conditional(value, condition, TakeName("else") ? ParseExpression() : null);
        }

        _depth--;
        return value;
    }

    private JinjaExpression ParseOr()
    {
        JinjaExpression left = ParseAnd();
        while (TakeName("or"))
            left = Deeper(new Binary("or", left, ParseAnd()));
        return left;
    }

    private JinjaExpression ParseAnd()
    {
        JinjaExpression left = ParseNot();
        while (TakeName("and"))
            left = Deeper(new Binary("and", left, ParseNot()));
        return left;
    }

    private JinjaExpression ParseNot()
    {
        if (!TakeName("not"))
            return ParseComparison();
        Enter();
        JinjaExpression operand = ParseNot();
        _depth--;
        return new Unary("not", operand);
    }

    private JinjaExpression ParseComparison()
    {
        JinjaExpression left = ParseSum();
        while (true)
        {
            if (Current is { Kind: JinjaTokenKind.Operator, Text: "==" or "!=" or "<" or ">" or "<=" or ">=" })
            {
                string operation = _tokens[_place++].Text;
                left = Deeper(new Binary(operation, left, ParseSum()));
            }
            else if (TakeName("in"))
            {
                left = Deeper(new Binary("in", left, ParseSum()));
            }
            else if (Current.Text == "not" && Current.Kind == JinjaTokenKind.Name && _tokens[_place + 1].Text == "in")
            {
                _place += 2;
                left = Deeper(new Binary("not in", left, ParseSum()));
            }
            else
            {
                return left;
            }
        }
    }

    private JinjaExpression ParseSum()
    {
        JinjaExpression left = ParseProduct();
        while (Current is { Kind: JinjaTokenKind.Operator, Text: "+" or "-" or "~" })
        {
            string operation = _tokens[_place++].Text;
            left = Deeper(new Binary(operation, left, ParseProduct()));
        }

        return left;
    }

    private JinjaExpression ParseProduct()
    {
        JinjaExpression left = ParseUnary();
        while (Current is { Kind: JinjaTokenKind.Operator, Text: "*" or "//" or "%" })
        {
            string operation = _tokens[_place++].Text;
            left = Deeper(new Binary(operation, left, ParseUnary()));
        }

        return left;
    }

    private JinjaExpression ParseUnary()
    {
        if (!TakeOperator("-"))
            return ParsePostfix(ParsePrimary());
        Enter();
        JinjaExpression operand = ParseUnary();
        _depth--;
        return new Unary("-", operand);
    }

    private JinjaExpression ParsePrimary()
    {
        JinjaToken token = _tokens[_place++];
        switch (token.Kind)
        {
            case JinjaTokenKind.String:
                return new Literal(token.Text);
            case JinjaTokenKind.Number:
                return long.TryParse(token.Text, NumberStyles.None, CultureInfo.InvariantCulture, out long number)
                    ? new Literal(number)
                    : throw Fail($"the number {token.Text} is too large");
            case JinjaTokenKind.Name:
                return token.Text switch
                {
                    "true" or "True" => new Literal(true),
                    "false" or "False" => new Literal(false),
                    "none" or "None" => new Literal(null),
                    _ => ParseNameOrCall(token.Text),
                };
            case JinjaTokenKind.Operator when token.Text == "(":
                JinjaExpression inner = ParseExpression();
                Require(")");
                return inner;
            case JinjaTokenKind.Operator when token.Text == "[":
                return new ListLiteral([.. ParseList("]")]);
            case JinjaTokenKind.Operator when token.Text == "{":
                return ParseMap();
            default:
                _place--;
                throw Fail($"'{token.Text}' was not expected");
        }
    }

    private JinjaExpression ParseNameOrCall(string name)
    {
        if (!TakeOperator("("))
            return new Variable(name);
        (JinjaExpression[] arguments, (string, JinjaExpression)[] named) = ParseArguments();
        return new Call(null, name, arguments, named);
    }

    private MapLiteral ParseMap()
    {
        var entries = new List<(JinjaExpression, JinjaExpression)>();
        while (!TakeOperator("}"))
        {
            JinjaExpression key = ParseExpression();
            Require(":");
            entries.Add((key, ParseExpression()));
            if (!TakeOperator(",") && Current.Text != "}")
                throw Fail("',' or '}' was expected");
        }

        return new MapLiteral([.. entries]);
    }

    private List<JinjaExpression> ParseList(string close)
    {
        var items = new List<JinjaExpression>();
        while (!TakeOperator(close))
        {
            items.Add(ParseExpression());
            if (!TakeOperator(",") && Current.Text != close)
                throw Fail($"',' or '{close}' was expected");
        }

        return items;
    }

    private (JinjaExpression[] Arguments, (string, JinjaExpression)[] Named) ParseArguments()
    {
        var arguments = new List<JinjaExpression>();
        var named = new List<(string, JinjaExpression)>();
        while (!TakeOperator(")"))
        {
            if (Current.Kind == JinjaTokenKind.Name && _tokens[_place + 1] is { Kind: JinjaTokenKind.Operator, Text: "=" })
            {
                string name = Current.Text;
                _place += 2;
                named.Add((name, ParseExpression()));
            }
            else
            {
                arguments.Add(ParseExpression());
            }

            if (!TakeOperator(",") && Current.Text != ")")
                throw Fail("',' or ')' was expected");
        }

        return ([.. arguments], [.. named]);
    }

    private JinjaExpression ParsePostfix(JinjaExpression value)
    {
        while (true)
        {
            if (TakeOperator("."))
            {
                string name = ExpectName();
                value = Deeper(TakeOperator("(") ? MakeCall(value, name) : new Access(value, new Literal(name)));
            }
            else if (TakeOperator("["))
            {
                value = Deeper(ParseIndex(value));
            }
            else if (TakeOperator("|"))
            {
                string name = ExpectName();
                value = Deeper(TakeOperator("(") ? MakeCall(value, name) : new Call(value, name, [], []));
            }
            else if (TakeName("is"))
            {
                value = Deeper(ParseTest(value));
            }
            else
            {
                return value;
            }
        }
    }

    private Call MakeCall(JinjaExpression target, string name)
    {
        (JinjaExpression[] arguments, (string, JinjaExpression)[] named) = ParseArguments();
        return new Call(target, name, arguments, named);
    }

    private IsTest ParseTest(JinjaExpression value)
    {
        bool negated = TakeName("not");
        string test = ExpectName();
        JinjaExpression? argument = null;
        if (test is "equalto" or "eq" or "ne" or "in")
        {
            bool bracket = TakeOperator("(");
            argument = bracket ? ParseExpression() : ParseUnary();
            if (bracket)
                Require(")");
        }

        return new IsTest(value, test, argument, negated);
    }

    private JinjaExpression ParseIndex(JinjaExpression target)
    {
        JinjaExpression? first = Current.Text == ":" ? null : ParseExpression();
        if (TakeOperator("]"))
            return new Access(target, first!);
        Require(":");
        JinjaExpression? second = Current is { Kind: JinjaTokenKind.Operator, Text: ":" or "]" } ? null : ParseExpression();
        JinjaExpression? third = TakeOperator(":") && Current.Text != "]" ? ParseExpression() : null;
        Require("]");
        return new Slice(target, first, second, third);
    }
}
