using System.Text;

namespace ParVts.Engine.Text;

internal enum JinjaTokenKind
{
    Text,
    BeginBlock,
    EndBlock,
    BeginOutput,
    EndOutput,
    Name,
    String,
    Number,
    Operator,
    End,
}

internal readonly record struct JinjaToken(JinjaTokenKind Kind, string Text, int Place);

/// <summary>
/// Cuts a template into tokens, with trim_blocks and lstrip_blocks on, as chat templates are rendered: the newline
/// behind a block tag is dropped, and so is blank space before one at the beginning of a line.
/// </summary>
internal sealed class JinjaLexer(string source, string file)
{
    private static readonly string[] s_operators = ["==", "!=", "<=", ">=", "//", "**"];

    private readonly List<JinjaToken> _tokens = [];
    private int _place;

    public static List<JinjaToken> Read(string source, string file)
    {
        var lexer = new JinjaLexer(source, file);
        lexer.ReadAll();
        return lexer._tokens;
    }

    /// <summary>An error at a place of the template.</summary>
    public static ModelFormatException Fail(string file, string source, int place, string message)
    {
        int line = source.AsSpan(0, Math.Min(place, source.Length)).Count('\n') + 1;
        return new ModelFormatException(
            file, "chat_template", $"line {line}: {message}. Choose a built-in template by its name instead (--template NAME)");
    }

    private void ReadAll()
    {
        bool trimBefore = false;
        while (_place < source.Length)
        {
            int tag = NextTag(_place);
            AddText(source[_place..(tag < 0 ? source.Length : tag)], tag, trimBefore);
            if (tag < 0)
                break;
            _place = tag;
            trimBefore = source[tag + 1] == '#' ? ReadComment() : ReadTag();
        }

        _tokens.Add(new JinjaToken(JinjaTokenKind.End, "", source.Length));
    }

    private int NextTag(int from)
    {
        for (int i = source.IndexOf('{', from); i >= 0; i = source.IndexOf('{', i + 1))
        {
            if (i + 1 < source.Length && (source[i + 1] is '%' or '{' or '#'))
                return i;
        }

        return -1;
    }

    private void AddText(string text, int tag, bool trimBefore)
    {
        if (trimBefore)
            text = text.TrimStart();
        if (tag >= 0)
        {
            char mark = tag + 2 < source.Length ? source[tag + 2] : ' ';
            if (mark == '-')
                text = text.TrimEnd();
            else if (mark != '+' && (source[tag + 1] is '%' or '#'))
                text = StripLine(text, tag);
        }

        if (text.Length > 0)
            _tokens.Add(new JinjaToken(JinjaTokenKind.Text, text, _place));
    }

    private string StripLine(string text, int tag)
    {
        int end = text.Length;
        while (end > 0 && (text[end - 1] is ' ' or '\t'))
            end--;

        int before = tag - (text.Length - end) - 1;
        return before < 0 || source[before] == '\n' ? text[..end] : text;
    }

    private bool ReadComment()
    {
        int end = source.IndexOf("#}", _place + 2, StringComparison.Ordinal);
        if (end < 0)
            throw Fail(file, source, _place, "a comment is not closed");
        bool trim = source[end - 1] == '-';
        _place = end + 2;
        SkipNewline();
        return trim;
    }

    private bool ReadTag()
    {
        int start = _place;
        bool block = source[_place + 1] == '%';
        string close = block ? "%}" : "}}";
        _place += 2;
        if (_place < source.Length && (source[_place] is '-' or '+'))
            _place++;
        _tokens.Add(new JinjaToken(block ? JinjaTokenKind.BeginBlock : JinjaTokenKind.BeginOutput, "", start));
        while (true)
        {
            while (_place < source.Length && char.IsWhiteSpace(source[_place]))
                _place++;
            if (_place >= source.Length)
                throw Fail(file, source, start, "a tag is not closed");
            bool trim = source[_place] == '-' && string.CompareOrdinal(source, _place + 1, close, 0, 2) == 0;
            if (trim || string.CompareOrdinal(source, _place, close, 0, 2) == 0)
            {
                _tokens.Add(new JinjaToken(block ? JinjaTokenKind.EndBlock : JinjaTokenKind.EndOutput, "", _place));
                _place += trim ? 3 : 2;
                if (block)
                    SkipNewline();
                return trim;
            }

            ReadToken();
        }
    }

    private void SkipNewline()
    {
        if (_place < source.Length && source[_place] == '\n')
            _place++;
    }

    private void ReadToken()
    {
        int start = _place;
        char first = source[_place];
        if (first is '\'' or '"')
        {
            ReadString(first);
            return;
        }

        if (char.IsLetter(first) || first == '_')
        {
            while (_place < source.Length && (char.IsLetterOrDigit(source[_place]) || source[_place] == '_'))
                _place++;
            _tokens.Add(new JinjaToken(JinjaTokenKind.Name, source[start.._place], start));
            return;
        }

        if (char.IsAsciiDigit(first))
        {
            while (_place < source.Length && char.IsAsciiDigit(source[_place]))
                _place++;
            _tokens.Add(new JinjaToken(JinjaTokenKind.Number, source[start.._place], start));
            return;
        }

        string operation = s_operators.FirstOrDefault(text => string.CompareOrdinal(source, start, text, 0, 2) == 0) ?? first.ToString();
        _place += operation.Length;
        _tokens.Add(new JinjaToken(JinjaTokenKind.Operator, operation, start));
    }

    private void ReadString(char quote)
    {
        int start = _place++;
        var text = new StringBuilder();
        while (_place < source.Length && source[_place] != quote)
        {
            char value = source[_place++];
            if (value == '\\' && _place < source.Length)
            {
                char escape = source[_place++];
                text.Append(escape switch
                {
                    'n' => "\n",
                    't' => "\t",
                    'r' => "\r",
                    '\\' or '\'' or '"' => escape.ToString(),
                    _ => "\\" + escape,
                });
            }
            else
            {
                text.Append(value);
            }
        }

        if (_place >= source.Length)
            throw Fail(file, source, start, "a string is not closed");
        _place++;
        _tokens.Add(new JinjaToken(JinjaTokenKind.String, text.ToString(), start));
    }
}
