using System.Buffers.Binary;
using ParVts.GpuSim.Ptx;
using ParVts.GpuSim.Run;

namespace ParVts.GpuSim.Compile;

/// <summary>Gives registers, constants and special registers their places in a warp's register file.</summary>
internal sealed class RegisterFile
{
    private readonly Dictionary<string, int> _registers = [];
    private readonly Dictionary<(ulong Bits, int Width), int> _constants = [];
    private readonly Dictionary<Special, int> _specials = [];
    private int _bytes;

    public IReadOnlyList<(int Place, Special What)> Specials => [.. _specials.Select(s => (s.Value, s.Key))];

    /// <summary>The place of a register of so many bytes a lane (0: a predicate).</summary>
    public int Register(string name, int width)
    {
        if (!_registers.TryGetValue(name, out int place))
            _registers[name] = place = Allocate(width);
        return place;
    }

    public bool Has(string name) => _registers.ContainsKey(name);

    public int Constant(ulong bits, int width)
    {
        if (width < 8)
            bits &= (1UL << (8 * width)) - 1;
        if (!_constants.TryGetValue((bits, width), out int place))
            _constants[(bits, width)] = place = Allocate(width);
        return place;
    }

    /// <summary>A predicate that always holds, or never.</summary>
    public int Truth(bool value) => Constant(value ? uint.MaxValue : 0, 4);

    public int SpecialRegister(Special what)
    {
        if (!_specials.TryGetValue(what, out int place))
            _specials[what] = place = Allocate(4);
        return place;
    }

    /// <summary>What the file holds at the start.</summary>
    public byte[] Image()
    {
        byte[] image = new byte[_bytes];
        Span<byte> value = stackalloc byte[8];
        foreach (((ulong bits, int width), int place) in _constants)
        {
            BinaryPrimitives.WriteUInt64LittleEndian(value, bits);
            for (int lane = 0; lane < 32; lane++)
                value[..width].CopyTo(image.AsSpan(place + (lane * width)));
        }
        return image;
    }

    private int Allocate(int width)
    {
        int place = _bytes;
        _bytes += Math.Max(64, 32 * width);
        return place;
    }
}
