using ParVts.GpuSim.Ptx;

namespace ParVts.GpuSim.Compile;

/// <summary>
/// Finds through which of its parameters a kernel may store to global memory: what hangs on none of them it only loads from, and need not be watched
/// for races. Registers' values are followed without regard to order.
/// </summary>
internal sealed class WrittenPointers
{
    /// <summary>Stands for an address that came from memory, or from where it can't be followed.</summary>
    private const int Unknown = -1;

    private readonly PtxFunction _kernel;
    private readonly IReadOnlyDictionary<string, ulong> _globals;
    private readonly Dictionary<string, HashSet<int>> _origins = [];
    private readonly HashSet<string> _variables = [];
    private bool _changed = true;

    private WrittenPointers(PtxFunction kernel, IReadOnlyDictionary<string, ulong> globals)
    {
        _kernel = kernel;
        _globals = globals;
    }

    /// <summary>The offsets of the parameters, and the addresses of module variables; null where it can't be told.</summary>
    public static (int[]? Parameters, ulong[] Variables) Find(PtxFunction kernel, IReadOnlyDictionary<string, ulong> globals)
    {
        if (kernel.Body.Exists(i => i.Opcode == "call"))
            return (null, []);
        WrittenPointers search = new(kernel, globals);
        while (search._changed)
        {
            search._changed = false;
            foreach (PtxInstruction i in kernel.Body)
                search.Follow(i);
        }
        HashSet<int> written = [];
        foreach (PtxInstruction i in kernel.Body.Where(i => i.Opcode is "st" or "atom" or "red" && !i.Modifiers.Any(m => m is "shared" or "shared::cta" or "local" or "param")))
        {
            Operand address = i.Operands[i.Opcode == "atom" ? 1 : 0];
            if (!globals.ContainsKey(address.Name) && !search._origins.ContainsKey(address.Name))
                return (null, []);
            written.UnionWith(search.Of(address));
        }
        return written.Contains(Unknown) ? (null, []) : ([.. written], [.. search._variables.Select(v => globals[v])]);
    }

    private void Follow(PtxInstruction i)
    {
        if (i.Operands.Length < 2 || i.Opcode is "st" or "red" or "setp" or "bra")
            return;
        HashSet<int> from = [];
        if (i.Opcode is "ld" or "ldu")
        {
            bool wide = i.Modifiers.Any(m => m is "u64" or "b64" or "s64");
            Operand address = i.Operands[1];
            if (wide && i.Modifiers.Contains("param") && _kernel.Parameters.Find(p => p.Name == address.Name) is { } parameter)
                from.Add(parameter.Offset + (int)address.Offset);
            else if (wide)
                from.Add(Unknown);
        }
        else if (i.Opcode == "atom")
        {
            from.Add(Unknown);
        }
        else
        {
            foreach (Operand source in i.Operands[1..])
            {
                // Put together of halves, which may have come from anywhere.
                if (source.Kind == OperandKind.Vector && i.Modifiers.Contains("b64"))
                    from.Add(Unknown);
                foreach (Operand part in source.Parts)
                    from.UnionWith(Of(part));
            }
        }
        if (from.Count == 0)
            return;
        foreach (Operand to in i.Operands[0].Parts.Where(p => p.Kind == OperandKind.Register))
        {
            if (!_origins.TryGetValue(to.Name, out HashSet<int>? known))
                _origins[to.Name] = known = [];
            int before = known.Count;
            known.UnionWith(from);
            _changed |= known.Count != before;
        }
    }

    private HashSet<int> Of(Operand operand)
    {
        if (_globals.ContainsKey(operand.Name))
        {
            // Any use of its address may end in a store; module variables are few and small.
            _variables.Add(operand.Name);
            return [int.MaxValue];
        }
        return _origins.TryGetValue(operand.Name, out HashSet<int>? known) ? known : [];
    }
}
