using System.Buffers.Binary;

namespace ParVts.Engine.Imaging.Bmp;

internal enum BmpCompression
{
    None = 0,
    Rle8 = 1,
    Rle4 = 2,
    BitFields = 3,
    AlphaBitFields = 6,
}

/// <summary>A BMP's headers, checked; the palette as RGB triples, empty where there is none.</summary>
internal sealed record BmpHeader(int Width, int Height, bool TopDown, int Bits, BmpCompression Compression, int PixelsAt, byte[] Palette, uint[] Masks)
{
    private const int FileHeader = 14, CoreHeader = 12, InfoHeader = 40;

    /// <summary>The bytes of a row as stored: a multiple of four.</summary>
    public long RowBytes => ((long)Width * Bits + 31) / 32 * 4;

    public bool IsRunLength => Compression is BmpCompression.Rle4 or BmpCompression.Rle8;

    public static BmpHeader Parse(ReadOnlySpan<byte> data)
    {
        if (data.Length < FileHeader + CoreHeader)
            throw BmpReader.Error("the file is cut short within its header.");
        uint pixelsAt = BinaryPrimitives.ReadUInt32LittleEndian(data[10..]);
        uint length = BinaryPrimitives.ReadUInt32LittleEndian(data[FileHeader..]);
        if (length is not (CoreHeader or InfoHeader or 52 or 56 or 64 or 108 or 124))
            throw BmpReader.Error($"a header of {length} bytes is unknown.");
        if (data.Length < FileHeader + length)
            throw BmpReader.Error("the file is cut short within its header.");
        ReadOnlySpan<byte> header = data.Slice(FileHeader, (int)length);
        bool core = length == CoreHeader;
        long width = core ? BinaryPrimitives.ReadUInt16LittleEndian(header[4..]) : BinaryPrimitives.ReadInt32LittleEndian(header[4..]);
        long height = core ? BinaryPrimitives.ReadUInt16LittleEndian(header[6..]) : BinaryPrimitives.ReadInt32LittleEndian(header[8..]);
        int bits = BinaryPrimitives.ReadUInt16LittleEndian(header[(core ? 10 : 14)..]);
        uint compression = core ? 0 : BinaryPrimitives.ReadUInt32LittleEndian(header[16..]);
        bool topDown = height < 0;
        height = Math.Abs(height);
        if (width < 1 || height is < 1 or > int.MaxValue)
            throw BmpReader.Error($"the header claims {width} × {height} pixels.");
        CheckKind(bits, compression, length);
        int after = FileHeader + (int)length;
        uint[] masks = ReadMasks(data, header, bits, (BmpCompression)compression, ref after);
        byte[] palette = bits > 8 ? [] : ReadPalette(data, after, pixelsAt, core ? 0 : BinaryPrimitives.ReadUInt32LittleEndian(header[32..]), bits, core ? 3 : 4);
        if (pixelsAt < after || pixelsAt > data.Length)
            throw BmpReader.Error($"the pixels are said to begin at byte {pixelsAt} of {data.Length}.");
        return new BmpHeader((int)width, (int)height, topDown, bits, (BmpCompression)compression, (int)pixelsAt, palette, masks);
    }

    private static void CheckKind(int bits, uint compression, uint headerLength)
    {
        // OS/2's headers give the same numbers to other methods.
        bool known = (bits, compression) switch
        {
            (1 or 4 or 8 or 16 or 24 or 32, (uint)BmpCompression.None) => true,
            (8, (uint)BmpCompression.Rle8) or (4, (uint)BmpCompression.Rle4) => true,
            (16 or 32, (uint)BmpCompression.BitFields or (uint)BmpCompression.AlphaBitFields) => headerLength != 64,
            _ => false,
        };
        if (!known)
            throw BmpReader.Error($"{bits} bits a pixel with compression {compression} are not supported.");
    }

    /// <summary>The masks of red, green, blue and alpha; empty where pixels are made of palette entries or whole bytes.</summary>
    private static uint[] ReadMasks(ReadOnlySpan<byte> data, ReadOnlySpan<byte> header, int bits, BmpCompression compression, ref int after)
    {
        if (compression is not (BmpCompression.BitFields or BmpCompression.AlphaBitFields))
            return bits == 16 ? [0x7C00, 0x03E0, 0x001F, 0] : [];
        int count = header.Length >= 56 || compression == BmpCompression.AlphaBitFields ? 4 : 3;
        ReadOnlySpan<byte> source = data[(FileHeader + InfoHeader)..];
        // The short header has its masks behind it, the longer ones inside.
        if (header.Length == InfoHeader)
            after += count * 4;
        if (source.Length < count * 4)
            throw BmpReader.Error("the file is cut short within its colour masks.");
        uint[] masks = new uint[4];
        for (int i = 0; i < count; i++)
        {
            uint mask = BinaryPrimitives.ReadUInt32LittleEndian(source[(i * 4)..]);
            masks[i] = bits == 16 ? mask & 0xFFFF : mask;
        }

        return masks;
    }

    private static byte[] ReadPalette(ReadOnlySpan<byte> data, int at, uint pixelsAt, uint used, int bits, int entryBytes)
    {
        long end = Math.Min(pixelsAt, data.Length);
        // OS/2 writers leave entries out, and the pixels follow at once.
        long count = Math.Min(used == 0 ? 1L << bits : Math.Min(used, 256), (end - at) / entryBytes);
        if (count < 1)
            throw BmpReader.Error("the palette is missing.");
        byte[] palette = new byte[count * 3];
        for (int to = 0; to < palette.Length; to += 3, at += entryBytes)
            (palette[to], palette[to + 1], palette[to + 2]) = (data[at + 2], data[at + 1], data[at]);
        return palette;
    }
}
