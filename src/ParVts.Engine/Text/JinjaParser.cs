using System.Globalization;

namespace ParVts.Engine.Text;

/// <summary>Parses the subset of Jinja that published chat templates are written in; anything else is named in the error.</summary>
internal sealed class JinjaParser
{
    private const int DeepestNesting = 100;
    private const int LongestChain = 2000;

    private readonly List<JinjaToken> _tokens;
    private readonly string _source;
    private readonly string _file;
    private int _place;
    private int _depth;
    private int _chained;

    private JinjaParser(string source, string file)
    {
        _source = source;
        _file = file;
        _tokens = JinjaLexer.Read(source, file);
    }

    private JinjaToken Current => _tokens[_place];

    public static BlockNode Parse(string source, string file)
    {
        var parser = new JinjaParser(source, file);
        BlockNode body = parser.ParseBody();
        if (parser.Current.Kind != JinjaTokenKind.End)
            throw parser.Fail($"'{parser._tokens[parser._place + 1].Text}' closes nothing");
        return body;
    }

    // Statements up to the end, or up to a block tag that this body does not open (left for the caller).
    private BlockNode ParseBody()
    {
        Enter();
        var statements = new List<JinjaStatement>();
        while (true)
        {
            _chained = 0;
            switch (Current.Kind)
            {
                case JinjaTokenKind.Text:
                    statements.Add(new TextNode(_tokens[_place++].Text));
                    break;
                case JinjaTokenKind.BeginOutput:
                    _place++;
                    statements.Add(new OutputNode(ParseExpression()));
                    Expect(JinjaTokenKind.EndOutput, "}}");
                    break;
                case JinjaTokenKind.BeginBlock when !IsClosing(_tokens[_place + 1].Text):
                    _place++;
                    if (ParseBlock() is JinjaStatement statement)
                        statements.Add(statement);
                    break;
                default:
                    _depth--;
                    return new BlockNode([.. statements]);
            }
        }
    }

    private static bool IsClosing(string name) =>
        name is "endif" or "endfor" or "else" or "elif" or "endgeneration";

    private JinjaStatement? ParseBlock()
    {
        string name = ExpectName();
        switch (name)
        {
            case "if":
                return ParseIf();
            case "for":
                return ParseFor();
            case "set":
                return ParseSet();
            case "generation":
                EndTag();
                BlockNode body = ParseBody();
                Close("endgeneration");
                return body;
            default:
                throw Fail($"the tag '{name}' is not supported; supported are: if, for, set, generation");
        }
    }

    private IfNode ParseIf()
    {
        var branches = new List<(JinjaExpression?, BlockNode)>();
        JinjaExpression condition = ParseExpression();
        EndTag();
        branches.Add((condition, ParseBody()));
        while (true)
        {
            Expect(JinjaTokenKind.BeginBlock, "{% endif %}");
            switch (ExpectName())
            {
                case "elif":
                    condition = ParseExpression();
                    EndTag();
                    branches.Add((condition, ParseBody()));
                    break;
                case "else":
                    EndTag();
                    branches.Add((null, ParseBody()));
                    break;
                case "endif":
                    EndTag();
                    return new IfNode([.. branches]);
                default:
                    throw Fail("'if' is not closed by 'endif'");
            }
        }
    }

    private ForNode ParseFor()
    {
        var names = new List<string> { ExpectName() };
        while (TakeOperator(","))
            names.Add(ExpectName());
        if (ExpectName() != "in")
            throw Fail("'for' needs 'in'");
        JinjaExpression items = ParseOr();
        JinjaExpression? filter = TakeName("if") ? ParseExpression() : null;
        EndTag();
        BlockNode body = ParseBody();
        BlockNode? otherwise = null;
        Expect(JinjaTokenKind.BeginBlock, "{% endfor %}");
        string close = ExpectName();
        if (close == "else")
        {
            EndTag();
            otherwise = ParseBody();
            Expect(JinjaTokenKind.BeginBlock, "{% endfor %}");
            close = ExpectName();
        }

        if (close != "endfor")
            throw Fail("'for' is not closed by 'endfor'");
        EndTag();
        return new ForNode([.. names], items, filter, body, otherwise);
    }

    private SetNode ParseSet()
    {
        string name = ExpectName();
        string? attribute = TakeOperator(".") ? ExpectName() : null;
        if (!TakeOperator("="))
            throw Fail("'set' needs '='");
        JinjaExpression value = ParseExpression();
        EndTag();
        return new SetNode(name, attribute, value);
    }

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

    private bool TakeOperator(string text)
    {
        if (Current.Kind != JinjaTokenKind.Operator || Current.Text != text)
            return false;
        _place++;
        return true;
    }

    private bool TakeName(string name)
    {
        if (Current.Kind != JinjaTokenKind.Name || Current.Text != name)
            return false;
        _place++;
        return true;
    }

    private void Require(string text)
    {
        if (!TakeOperator(text))
            throw Fail($"'{text}' was expected");
    }

    private string ExpectName()
    {
        if (Current.Kind != JinjaTokenKind.Name)
            throw Fail("a name was expected");
        return _tokens[_place++].Text;
    }

    private void Expect(JinjaTokenKind kind, string what)
    {
        if (Current.Kind != kind)
            throw Fail($"'{what}' was expected");
        _place++;
    }

    private void EndTag() => Expect(JinjaTokenKind.EndBlock, "%}");

    private void Close(string name)
    {
        Expect(JinjaTokenKind.BeginBlock, $"{{% {name} %}}");
        if (ExpectName() != name)
            throw Fail($"'{name}' was expected");
        EndTag();
    }

    private void Enter()
    {
        if (++_depth > DeepestNesting)
            throw Fail("the template is nested too deeply");
    }

    // A chain of operators makes a tree as deep as it is long, and evaluating it takes as much stack.
    private JinjaExpression Deeper(JinjaExpression expression) =>
        ++_chained > LongestChain ? throw Fail("an expression is too long") : expression;

    private ModelFormatException Fail(string message) => JinjaLexer.Fail(_file, _source, Current.Place, message);
}
