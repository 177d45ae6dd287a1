using System.Buffers.Binary;

namespace ParVts.GpuSim.Ptx;

/// <summary>Reads a module's directives; instructions are in the other half of this class.</summary>
internal sealed partial class PtxParser(string text)
{
    private readonly List<PtxToken> _tokens = PtxTokens.Read(text);
    private readonly PtxModule _module = new();
    private int _at;
    private SourceLine _source;

    public PtxModule Parse()
    {
        while (_at < _tokens.Count)
            ParseTopLevel();
        return _module;
    }

    private PtxToken Peek(int ahead = 0) => _at + ahead < _tokens.Count ? _tokens[_at + ahead]
        : throw new PtxException("the text ends too early", _tokens.Count == 0 ? 0 : _tokens[^1].Line);

    private PtxToken Next()
    {
        PtxToken token = Peek();
        _at++;
        return token;
    }

    private bool Take(string what)
    {
        if (_at >= _tokens.Count || !_tokens[_at].Is(what))
            return false;
        _at++;
        return true;
    }

    private void Expect(string what)
    {
        if (!Take(what))
            throw new PtxException($"expected '{what}', found '{Peek().Text}'", Peek().Line);
    }

    private void ParseTopLevel()
    {
        PtxToken token = Peek();
        bool isExtern = false;
        while (Peek().Text is ".visible" or ".extern" or ".weak" or ".common")
            isExtern |= Next().Text == ".extern";
        switch (Peek().Text)
        {
            case ".version" or ".target" or ".address_size":
                SkipLine();
                break;
            case ".file":
                ParseFile();
                break;
            case ".section":
                SkipSection();
                break;
            case ".entry" or ".func":
                ParseFunction(isExtern);
                break;
            case ".global" or ".const" or ".shared":
                _module.Variables.AddRange(ParseVariables(isExtern));
                break;
            default:
                throw new PtxException($"unknown directive '{token.Text}'", token.Line);
        }
    }

    private void SkipLine()
    {
        int line = Peek().Line;
        while (_at < _tokens.Count && _tokens[_at].Line == line)
            _at++;
    }

    private void SkipSection()
    {
        while (!Take("{"))
            Next();
        while (!Take("}"))
            Next();
    }

    private void ParseFile()
    {
        Next();
        int index = (int)ParseInteger(Next());
        PtxToken name = Peek();
        _module.Files[index] = name.Text;
        SkipLine();
    }

    private void ParseFunction(bool isExtern)
    {
        bool isEntry = Next().Text == ".entry";
        List<PtxParameter> returns = [];
        if (!isEntry && Peek().Is("("))
            returns = ParseParameters();
        PtxFunction function = new() { Name = Next().Text, IsEntry = isEntry };
        function.Returns.AddRange(returns);
        if (Peek().Is("("))
            function.Parameters.AddRange(ParseParameters());
        while (!Peek().Is("{") && !Peek().Is(";"))
            ParsePerformanceDirective(function);
        if (Take(";"))
        {
            // A declaration ahead of the definition; one that never comes is an error at the call.
            return;
        }
        if (isExtern)
            throw new PtxException($"the body of extern function '{function.Name}'", Peek().Line);
        ParseBody(function);
        _module.Functions[function.Name] = function;
    }

    private void ParsePerformanceDirective(PtxFunction function)
    {
        PtxToken token = Next();
        switch (token.Text)
        {
            case ".maxntid" or ".reqntid":
                int threads = (int)ParseInteger(Next());
                while (Take(","))
                    threads *= (int)ParseInteger(Next());
                function.MaxThreads = threads;
                break;
            case ".minnctapersm" or ".maxnreg" or ".maxnctapersm":
                Next();
                break;
            case ".noreturn":
                break;
            default:
                throw new PtxException($"unknown directive '{token.Text}' of function '{function.Name}'", token.Line);
        }
    }

    private List<PtxParameter> ParseParameters()
    {
        List<PtxParameter> parameters = [];
        int offset = 0;
        Expect("(");
        while (!Take(")"))
        {
            Expect(".param");
            int align = 0;
            PtxType type = PtxType.None;
            while (Peek().Text.StartsWith('.'))
            {
                PtxToken token = Next();
                if (token.Text == ".align")
                    align = (int)ParseInteger(Next());
                else if (PtxTypes.TryParse(token.Text[1..], out PtxType named))
                    type = named;
                else if (token.Text is not (".ptr" or ".global" or ".const" or ".shared" or ".local"))
                    throw new PtxException($"unknown parameter attribute '{token.Text}'", token.Line);
            }
            string name = Next().Text;
            int bytes = type.Bytes();
            while (Take("["))
            {
                bytes *= (int)ParseInteger(Next());
                Expect("]");
            }
            align = Math.Max(align, type.Bytes());
            offset = (offset + align - 1) / align * align;
            parameters.Add(new PtxParameter(name, type, bytes, align, offset));
            offset += bytes;
            Take(",");
        }
        return parameters;
    }

    /// <summary>"[.space] [.align n] .type name[count] = {…}, …;".</summary>
    private List<PtxVariable> ParseVariables(bool isExtern)
    {
        string space = Next().Text[1..];
        List<PtxVariable> variables = [];
        int align = 0;
        PtxType type = PtxType.None;
        while (Peek().Text.StartsWith('.'))
        {
            PtxToken token = Next();
            if (token.Text == ".align")
                align = (int)ParseInteger(Next());
            else if (PtxTypes.TryParse(token.Text[1..], out PtxType named))
                type = named;
            else if (token.Text is not (".attribute" or ".managed"))
                throw new PtxException($"unknown attribute '{token.Text}' of a variable", token.Line);
        }
        do
        {
            PtxToken name = Next();
            long bytes = type.Bytes();
            while (Take("["))
            {
                bytes *= Peek().Is("]") ? 0 : ParseInteger(Next());
                Expect("]");
            }
            byte[]? initial = Take("=") ? ParseInitial(type, bytes) : null;
            variables.Add(new PtxVariable(name.Text, space, type, bytes, Math.Max(align, type.Bytes()), initial, isExtern, name.Line));
        }
        while (Take(","));
        Expect(";");
        return variables;
    }

    private byte[] ParseInitial(PtxType type, long bytes)
    {
        byte[] data = new byte[bytes];
        int at = 0;
        int depth = 0;
        Span<byte> all = stackalloc byte[8];
        do
        {
            PtxToken token = Peek();
            if (Take("{"))
                depth++;
            else if (Take("}"))
                depth--;
            else if (!Take(","))
            {
                Operand value = ParseOperand();
                if (value.Kind != OperandKind.Immediate)
                    throw new PtxException($"an initial value '{token.Text}' that is no number", token.Line);
                BinaryPrimitives.WriteUInt64LittleEndian(all, value.Bits);
                all[..type.Bytes()].CopyTo(data.AsSpan(at));
                at += type.Bytes();
            }
        }
        while (depth > 0);
        return data;
    }
}
