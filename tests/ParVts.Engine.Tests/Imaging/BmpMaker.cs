using System.Buffers.Binary;

namespace ParVts.Engine.Tests.Imaging;

/// <summary>Puts BMP files together for tests: any header length, any body.</summary>
internal sealed record BmpMaker(int Width, int Height, int Bits)
{
    public int HeaderBytes { get; init; } = 40;

    public uint Compression { get; init; }

    /// <summary>Red, green, blue and perhaps alpha.</summary>
    public uint[] Masks { get; init; } = [];

    /// <summary>RGB triples.</summary>
    public byte[] Palette { get; init; } = [];

    public byte[] File(byte[] body)
    {
        byte[] header = new byte[HeaderBytes];
        BinaryPrimitives.WriteInt32LittleEndian(header, HeaderBytes);
        if (HeaderBytes == 12)
        {
            foreach ((int at, int value) in new[] { (4, Width), (6, Height), (8, 1), (10, Bits) })
                BinaryPrimitives.WriteUInt16LittleEndian(header.AsSpan(at), (ushort)value);
        }
        else
        {
            BinaryPrimitives.WriteInt32LittleEndian(header.AsSpan(4), Width);
            BinaryPrimitives.WriteInt32LittleEndian(header.AsSpan(8), Height);
            header[12] = 1;
            BinaryPrimitives.WriteUInt16LittleEndian(header.AsSpan(14), (ushort)Bits);
            BinaryPrimitives.WriteUInt32LittleEndian(header.AsSpan(16), Compression);
            BinaryPrimitives.WriteInt32LittleEndian(header.AsSpan(32), Palette.Length / 3);
        }

        byte[] masks = [.. Masks.SelectMany(BitConverter.GetBytes)];
        if (HeaderBytes > 40)
        {
            masks.CopyTo(header, 40);
            masks = [];
        }

        byte[] palette = [.. Palette.Chunk(3).SelectMany(c => HeaderBytes == 12 ? new[] { c[2], c[1], c[0] } : [c[2], c[1], c[0], 0])];
        byte[] front = [.. "BM"u8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, .. header, .. masks, .. palette];
        BinaryPrimitives.WriteInt32LittleEndian(front.AsSpan(2), front.Length + body.Length);
        BinaryPrimitives.WriteInt32LittleEndian(front.AsSpan(10), front.Length);
        return [.. front, .. body];
    }
}
