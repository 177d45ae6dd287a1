namespace ParVts.Engine.Text;

/// <summary>Parses the subset of Jinja that published chat templates are written in; anything else is named in the error.</summary>
internal sealed partial class JinjaParser
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
