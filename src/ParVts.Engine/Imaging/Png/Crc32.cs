using System.Buffers.Binary;

namespace ParVts.Engine.Imaging.Png;

/// <summary>The checksum of PNG chunks (polynomial 0xEDB88320), eight bytes at a time.</summary>
internal static class Crc32
{
    private const int Slices = 8;

    // Tables[s * 256 + b]: the effect of byte b, s bytes before the end of a block.
    private static readonly uint[] Tables = MakeTables();

    /// <summary>Continues a checksum; begin with 0.</summary>
    public static uint Append(uint crc, ReadOnlySpan<byte> data)
    {
        uint[] t = Tables;
        crc = ~crc;
        for (; data.Length >= Slices; data = data[Slices..])
        {
            ulong block = BinaryPrimitives.ReadUInt64LittleEndian(data) ^ crc;
            crc = t[0x700 + (byte)block] ^ t[0x600 + (byte)(block >> 8)] ^ t[0x500 + (byte)(block >> 16)] ^ t[0x400 + (byte)(block >> 24)]
                ^ t[0x300 + (byte)(block >> 32)] ^ t[0x200 + (byte)(block >> 40)] ^ t[0x100 + (byte)(block >> 48)] ^ t[(byte)(block >> 56)];
        }

        foreach (byte b in data)
            crc = t[(byte)(crc ^ b)] ^ (crc >> 8);
        return ~crc;
    }

    private static uint[] MakeTables()
    {
        uint[] tables = new uint[Slices * 256];
        for (uint b = 0; b < 256; b++)
        {
            uint crc = b;
            for (int bit = 0; bit < 8; bit++)
                crc = (crc & 1) != 0 ? (crc >> 1) ^ 0xEDB88320u : crc >> 1;
            tables[b] = crc;
        }

        for (int i = 256; i < tables.Length; i++)
            tables[i] = tables[(byte)tables[i - 256]] ^ (tables[i - 256] >> 8);
        return tables;
    }
}
