using ParVts.GpuSim.Ptx;

namespace ParVts.GpuSim.Compile;

/// <summary>The modifiers of one instruction, ticked off one by one: what nobody asked for is an error.</summary>
internal sealed class Modifiers(PtxInstruction instruction)
{
    private readonly List<string> _left = [.. instruction.Modifiers];

    public bool Take(string name) => _left.Remove(name);

    /// <summary>Drops hints that change nothing here, such as caching.</summary>
    public void Ignore(params ReadOnlySpan<string> names)
    {
        foreach (string name in names)
            _left.Remove(name);
    }

    /// <summary>The first of some names that is there, or null.</summary>
    public string? TakeAny(params ReadOnlySpan<string> names)
    {
        foreach (string name in names)
        {
            if (_left.Remove(name))
                return name;
        }
        return null;
    }

    /// <summary>The next type.</summary>
    public PtxType TakeType()
    {
        for (int i = 0; i < _left.Count; i++)
        {
            if (PtxTypes.TryParse(_left[i], out PtxType type))
            {
                _left.RemoveAt(i);
                return type;
            }
        }
        throw new PtxException($"'{instruction.Text}' names no type (source line {instruction.Source.Line})", instruction.Source.PtxLine);
    }

    public void IgnoreStartingWith(string prefix) => _left.RemoveAll(m => m.StartsWith(prefix, StringComparison.Ordinal));

    /// <summary>Called when an instruction is compiled: nothing may be left.</summary>
    public void End()
    {
        if (_left.Count > 0)
        {
            throw new PtxException($"modifier '.{_left[0]}' of '{instruction.Text}' is not known to the simulator (source line {instruction.Source.Line})",
                instruction.Source.PtxLine);
        }
    }
}
