using System.Globalization;

namespace ParVts.GpuSim.Ptx;

/// <summary>Reads function bodies: declarations, labels, instructions.</summary>
internal sealed partial class PtxParser
{
    /// <summary>Names declared in the open scopes, innermost last: a name of an inner one is kept apart by a suffix.</summary>
    private readonly List<Dictionary<string, string>> _scopes = [];
    private int _scopeCount;
    private PtxFunction? _function;

    private void ParseBody(PtxFunction function)
    {
        _function = function;
        _scopeCount = 0;
        do
        {
            PtxToken token = Peek();
            if (Take("{"))
            {
                _scopes.Add([]);
                _scopeCount++;
            }
            else if (Take("}"))
            {
                _scopes.RemoveAt(_scopes.Count - 1);
            }
            else if (token.Text.StartsWith('.'))
            {
                ParseBodyDirective(function);
            }
            else if (Peek(1).Is(":"))
            {
                if (!function.Labels.TryAdd(token.Text, function.Body.Count))
                    throw new PtxException($"label '{token.Text}' stands twice", token.Line);
                _at += 2;
            }
            else if (!Take(";"))
            {
                function.Body.Add(ParseInstruction());
            }
        }
        while (_scopes.Count > 0);
        _function = null;
    }

    private void ParseBodyDirective(PtxFunction function)
    {
        PtxToken token = Peek();
        switch (token.Text)
        {
            case ".loc":
                Next();
                int file = (int)ParseInteger(Next());
                int line = (int)ParseInteger(Next());
                // Line 0 marks code that belongs to no line: the one before says more.
                if (line > 0)
                    _source = new SourceLine(file, line, 0);
                SkipLine();
                break;
            case ".reg":
                ParseRegisters(function);
                break;
            case ".local" or ".shared" or ".global" or ".const":
                function.Variables.AddRange(ParseVariables(isExtern: false));
                break;
            case ".param" or ".pragma":
                // Parameters of calls are known by the call; pragmas are hints.
                while (!Take(";"))
                    Next();
                break;
            case ".file" or ".section":
                SkipLine();
                break;
            default:
                throw new PtxException($"unknown directive '{token.Text}' in '{function.Name}'", token.Line);
        }
    }

    private void ParseRegisters(PtxFunction function)
    {
        Next();
        PtxToken typeName = Next();
        if (!PtxTypes.TryParse(typeName.Text[1..], out PtxType type))
            throw new PtxException($"unknown register type '{typeName.Text}'", typeName.Line);
        do
        {
            string name = Next().Text;
            if (Take("<"))
            {
                Next();
                Expect(">");
                function.RegisterFamilies[name] = type;
                continue;
            }
            string unique = _scopes.Count > 1 ? $"{name}#{_scopeCount}" : name;
            _scopes[^1][name] = unique;
            function.Registers[unique] = type;
        }
        while (Take(","));
        Expect(";");
    }

    private PtxInstruction ParseInstruction()
    {
        string? guard = null;
        bool negated = false;
        int line = Peek().Line;
        if (Take("@"))
        {
            negated = Take("!");
            guard = Resolve(Next().Text);
        }
        PtxToken name = Next();
        string[] parts = name.Text.Split('.');
        List<Operand> operands = [];
        while (!Take(";"))
        {
            operands.Add(ParseOperand());
            if (!Take(",") && !Peek().Is(";"))
                throw new PtxException($"'{Peek().Text}' after an operand of '{name.Text}'", Peek().Line);
        }
        return new PtxInstruction(name.Text, parts[0], parts[1..], [.. operands], guard, negated, _source with { PtxLine = line });
    }

    private string Resolve(string name)
    {
        for (int i = _scopes.Count - 1; i >= 0; i--)
        {
            if (_scopes[i].TryGetValue(name, out string? unique))
                return unique;
        }
        return name;
    }

    private Operand ParseOperand()
    {
        if (Peek().Is("{") || Peek().Is("("))
        {
            string end = Peek().Is("{") ? "}" : ")";
            Next();
            List<Operand> items = [];
            while (!Take(end))
            {
                items.Add(ParseOperand());
                Take(",");
            }
            return new Operand(end == "}" ? OperandKind.Vector : OperandKind.Group, Items: [.. items]);
        }
        if (Take("["))
        {
            Operand address = ParseOperand();
            Expect("]");
            // An address without base is a number.
            return address.Kind == OperandKind.Immediate
                ? new Operand(OperandKind.Address, Offset: (long)address.Bits)
                : address with { Kind = OperandKind.Address };
        }
        bool negated = Take("!");
        bool minus = Take("-");
        PtxToken token = Next();
        if (char.IsAsciiDigit(token.Text[0]))
            return ParseNumber(token, minus);
        if (token.Text == "_")
            return new Operand(OperandKind.Sink, Second: Take("|") ? Resolve(Next().Text) : null);
        string name = Resolve(token.Text);
        bool isRegister = name.StartsWith('%') || _function?.TypeOf(name) is not (null or PtxType.None);
        long offset = 0;
        if (Take("+"))
            offset = Take("-") ? -ParseInteger(Next()) : ParseInteger(Next());
        string? second = Take("|") ? Resolve(Next().Text) : null;
        return new Operand(isRegister ? OperandKind.Register : OperandKind.Symbol, name, offset, Negated: negated, Second: second);
    }

    private static Operand ParseNumber(PtxToken token, bool minus)
    {
        string text = token.Text;
        if (text.StartsWith("0f", StringComparison.OrdinalIgnoreCase))
        {
            uint bits = uint.Parse(text.AsSpan(2), NumberStyles.HexNumber, CultureInfo.InvariantCulture);
            return new Operand(OperandKind.Immediate, Bits: minus ? bits ^ 0x8000_0000 : bits, IsFloat32: true);
        }
        if (text.StartsWith("0d", StringComparison.OrdinalIgnoreCase))
        {
            ulong bits = ulong.Parse(text.AsSpan(2), NumberStyles.HexNumber, CultureInfo.InvariantCulture);
            return new Operand(OperandKind.Immediate, Bits: minus ? bits ^ (1UL << 63) : bits, IsFloat64: true);
        }
        if (text.Contains('.'))
        {
            double value = double.Parse(text, CultureInfo.InvariantCulture);
            return new Operand(OperandKind.Immediate, Bits: BitConverter.DoubleToUInt64Bits(minus ? -value : value), IsFloat64: true);
        }
        long number = ParseInteger(token);
        return new Operand(OperandKind.Immediate, Bits: unchecked((ulong)(minus ? -number : number)));
    }

    private static long ParseInteger(PtxToken token)
    {
        ReadOnlySpan<char> text = token.Text.AsSpan().TrimEnd('U');
        bool hex = text.StartsWith("0x", StringComparison.OrdinalIgnoreCase);
        if (ulong.TryParse(hex ? text[2..] : text, hex ? NumberStyles.HexNumber : NumberStyles.Integer, CultureInfo.InvariantCulture, out ulong value))
            return unchecked((long)value);
        throw new PtxException($"'{token.Text}' is no number", token.Line);
    }
}
