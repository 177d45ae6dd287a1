using System.Buffers.Binary;

namespace ParVts.Engine.Imaging.Png;

/// <summary>Turns unfiltered PNG rows of any colour type and depth into RGB.</summary>
internal sealed class PngPixels
{
    private readonly PngHeader _header;
    private readonly Transparency _transparency;

    // Rows of one sample of at most 8 bits, grey or palette: three bytes for each value, transparency applied.
    private readonly byte[] _table = [];

    // The one transparent colour of grey and RGB pictures, as stored (6 or 2 bytes, in the picture's depth), or none.
    private readonly byte[] _key = [];

    public PngPixels(PngHeader header, byte[]? palette, byte[]? transparency, Transparency choice)
    {
        _header = header;
        _transparency = choice;
        if (header.Colour == PngColour.Palette)
        {
            if (palette is null)
                throw PngReader.Error("a palette picture has no palette (PLTE).");
            _table = PaletteTable(palette, transparency, choice);
        }
        else if (header.Channels is 1 or 3)
        {
            _key = Key(transparency);
            if (header.Colour == PngColour.Grey && header.Depth <= 8)
                _table = GreyTable();
        }
    }

    /// <summary>Converts one row; <paramref name="rgb"/> has three bytes for each of its pixels.</summary>
    public void Convert(ReadOnlySpan<byte> row, Span<byte> rgb)
    {
        switch (_header.Colour)
        {
            case PngColour.Palette:
            case PngColour.Grey when _header.Depth <= 8:
                FromTable(row, rgb);
                break;
            case PngColour.Grey:
                FromGrey16(row, rgb);
                break;
            case PngColour.Rgb:
                FromRgb(row, rgb);
                break;
            case PngColour.GreyAlpha:
                FromGreyAlpha(row, rgb);
                break;
            default:
                FromRgba(row, rgb);
                break;
        }
    }

    private void FromTable(ReadOnlySpan<byte> row, Span<byte> rgb)
    {
        int depth = _header.Depth, mask = (1 << depth) - 1, shift = 8 - depth, at = 0;
        ReadOnlySpan<byte> table = _table;
        for (int to = 0; to < rgb.Length; to += 3)
        {
            int entry = ((row[at] >> shift) & mask) * 3;
            if (entry >= table.Length)
                throw PngReader.Error($"a pixel has colour {entry / 3} of a palette of {table.Length / 3}.");
            rgb[to] = table[entry];
            rgb[to + 1] = table[entry + 1];
            rgb[to + 2] = table[entry + 2];
            shift -= depth;
            if (shift < 0)
            {
                shift = 8 - depth;
                at++;
            }
        }
    }

    private void FromGrey16(ReadOnlySpan<byte> row, Span<byte> rgb)
    {
        for (int from = 0, to = 0; to < rgb.Length; from += 2, to += 3)
            rgb.Slice(to, 3).Fill(IsKey(row.Slice(from, 2)) ? (byte)255 : row[from]);
    }

    private void FromRgb(ReadOnlySpan<byte> row, Span<byte> rgb)
    {
        int step = _header.Depth / 8, pixel = 3 * step;
        if (step == 1 && _key.Length == 0)
        {
            row.CopyTo(rgb);
            return;
        }

        for (int from = 0, to = 0; to < rgb.Length; from += pixel, to += 3)
        {
            if (IsKey(row.Slice(from, pixel)))
            {
                rgb.Slice(to, 3).Fill(255);
                continue;
            }

            rgb[to] = row[from];
            rgb[to + 1] = row[from + step];
            rgb[to + 2] = row[from + 2 * step];
        }
    }

    private void FromGreyAlpha(ReadOnlySpan<byte> row, Span<byte> rgb)
    {
        int step = _header.Depth / 8;
        for (int from = 0, to = 0; to < rgb.Length; from += 2 * step, to += 3)
        {
            byte grey = row[from];
            Alpha.Write(rgb.Slice(to, 3), grey, grey, grey, row[from + step], _transparency);
        }
    }

    private void FromRgba(ReadOnlySpan<byte> row, Span<byte> rgb)
    {
        if (_header.Depth == 8)
        {
            Alpha.ToRgb(row, rgb, _transparency);
            return;
        }

        for (int from = 0, to = 0; to < rgb.Length; from += 8, to += 3)
            Alpha.Write(rgb.Slice(to, 3), row[from], row[from + 2], row[from + 4], row[from + 6], _transparency);
    }

    private bool IsKey(ReadOnlySpan<byte> pixel) => _key.Length > 0 && pixel.SequenceEqual(_key);

    /// <summary>The transparent colour in the bytes that a pixel of it has; only the low bits of each sample count.</summary>
    private byte[] Key(byte[]? transparency)
    {
        if (transparency is null)
            return [];
        int channels = _header.Channels;
        if (transparency.Length != channels * 2)
            throw PngReader.Error($"tRNS has {transparency.Length} bytes, not {channels * 2}.");
        if (_transparency == Transparency.Drop)
            return [];
        if (_header.Depth == 16)
            return transparency;
        byte[] key = new byte[channels];
        for (int i = 0; i < channels; i++)
            key[i] = (byte)(BinaryPrimitives.ReadUInt16BigEndian(transparency.AsSpan(i * 2)) & ((1 << _header.Depth) - 1));
        return key;
    }

    private byte[] GreyTable()
    {
        int count = 1 << _header.Depth;
        byte[] table = new byte[count * 3];
        for (int value = 0; value < count; value++)
        {
            bool transparent = _key.Length > 0 && _key[0] == value;
            table.AsSpan(value * 3, 3).Fill(transparent ? (byte)255 : (byte)(value * 255 / (count - 1)));
        }

        return table;
    }

    private static byte[] PaletteTable(byte[] palette, byte[]? alphas, Transparency choice)
    {
        int count = palette.Length / 3;
        if (alphas is not null && alphas.Length > count)
            throw PngReader.Error($"tRNS has {alphas.Length} entries for a palette of {count}.");
        byte[] table = new byte[palette.Length];
        for (int i = 0; i < count; i++)
        {
            byte alpha = alphas is not null && i < alphas.Length ? alphas[i] : (byte)255;
            Alpha.Write(table.AsSpan(i * 3, 3), palette[i * 3], palette[i * 3 + 1], palette[i * 3 + 2], alpha, choice);
        }

        return table;
    }
}
