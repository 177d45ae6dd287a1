using System.Buffers.Binary;
using System.IO.Compression;
using System.Text;

namespace ParVts.Engine.Tests.Imaging;

/// <summary>A slow PNG encoder for tests, written from the standard and sharing nothing with the reader: every colour type, depth, filter and interlacing.</summary>
internal sealed record PngMaker(int Width, int Height, int ColourType, int Depth, bool Interlaced)
{
    // The pass to which each pixel of an 8 × 8 block belongs, as the standard draws it.
    private static readonly string[] Adam7 = ["16462646", "77777777", "56565656", "77777777", "36463646", "77777777", "56565656", "77777777"];

    public byte[]? Palette { get; init; }

    public byte[]? Transparency { get; init; }

    /// <summary>Chunks to stand before the pixels.</summary>
    public (string Type, byte[] Body)[] Extra { get; init; } = [];

    public int Channels => ColourType switch { 2 => 3, 4 => 2, 6 => 4, _ => 1 };

    public int Largest => (1 << Depth) - 1;

    /// <summary>Random samples: [height][width][channel].</summary>
    public int[][][] RandomSamples(Random random, int below = int.MaxValue) =>
        [.. Enumerable.Range(0, Height).Select(_ => Enumerable.Range(0, Width).Select(
            _ => Enumerable.Range(0, Channels).Select(_ => random.Next(Math.Min(below, Largest + 1))).ToArray()).ToArray())];

    public byte[] Encode(int[][][] samples) => File(Raw(samples));

    /// <summary>A file with any rows, filter bytes included.</summary>
    public byte[] File(byte[] raw)
    {
        using var compressed = new MemoryStream();
        using (var deflater = new ZLibStream(compressed, CompressionLevel.Optimal, leaveOpen: true))
            deflater.Write(raw);
        return FileOf(compressed.ToArray());
    }

    /// <summary>A file with any compressed data, cut into many chunks.</summary>
    public byte[] FileOf(byte[] compressed)
    {
        byte[] header = new byte[13];
        BinaryPrimitives.WriteInt32BigEndian(header, Width);
        BinaryPrimitives.WriteInt32BigEndian(header.AsSpan(4), Height);
        (header[8], header[9], header[12]) = ((byte)Depth, (byte)ColourType, Interlaced ? (byte)1 : (byte)0);
        List<(string, byte[])> chunks = [("IHDR", header)];
        if (Palette is not null)
            chunks.Add(("PLTE", Palette));
        if (Transparency is not null)
            chunks.Add(("tRNS", Transparency));
        chunks.AddRange(Extra);
        chunks.AddRange(compressed.Chunk(Math.Max(23, compressed.Length / 9)).Select(part => ("IDAT", part)));
        chunks.Add(("IEND", []));
        return Join(chunks);
    }

    public static byte[] Join(IEnumerable<(string Type, byte[] Body)> chunks)
    {
        List<byte> file = [0x89, .. "PNG\r\n\u001A\n"u8];
        foreach ((string type, byte[] body) in chunks)
        {
            byte[] checkedPart = [.. Encoding.ASCII.GetBytes(type), .. body];
            file.AddRange([.. BigEndian((uint)body.Length), .. checkedPart, .. BigEndian(Crc(checkedPart))]);
        }

        return [.. file];
    }

    /// <summary>The CRC, bit by bit.</summary>
    public static uint Crc(ReadOnlySpan<byte> data)
    {
        uint crc = uint.MaxValue;
        foreach (byte b in data)
        {
            crc ^= b;
            for (int i = 0; i < 8; i++)
                crc = (crc & 1) == 1 ? 0xEDB88320 ^ (crc >> 1) : crc >> 1;
        }

        return ~crc;
    }

    /// <summary>Sets every checksum right, as far as the chunks can be followed: so that damage reaches what lies behind it.</summary>
    public static void RepairChecksums(byte[] file)
    {
        for (long at = 8; at + 12 <= file.Length;)
        {
            long length = BinaryPrimitives.ReadUInt32BigEndian(file.AsSpan((int)at));
            if (at + 12 + length > file.Length)
                return;
            uint crc = Crc(file.AsSpan((int)at + 4, (int)length + 4));
            BinaryPrimitives.WriteUInt32BigEndian(file.AsSpan((int)(at + 8 + length)), crc);
            at += 12 + length;
        }
    }

    private static byte[] BigEndian(uint value)
    {
        byte[] bytes = new byte[4];
        BinaryPrimitives.WriteUInt32BigEndian(bytes, value);
        return bytes;
    }

    private byte[] Raw(int[][][] samples)
    {
        List<byte> raw = [];
        int filter = 0;
        foreach (char pass in Interlaced ? "1234567" : "1")
        {
            byte[]? above = null;
            for (int y = 0; y < Height; y++)
            {
                int[][] pixels = [.. samples[y].Where((_, x) => !Interlaced || Adam7[y % 8][x % 8] == pass)];
                if (pixels.Length == 0)
                    continue;
                byte[] row = Pack(pixels);
                raw.Add((byte)(filter % 5));
                raw.AddRange(Filter(filter++ % 5, row, above ?? new byte[row.Length]));
                above = row;
            }
        }

        return [.. raw];
    }

    private byte[] Pack(int[][] pixels)
    {
        string bits = string.Concat(pixels.SelectMany(p => p).Select(s => Convert.ToString(s, 2).PadLeft(Depth, '0')));
        bits = bits.PadRight((bits.Length + 7) / 8 * 8, '0');
        return [.. bits.Chunk(8).Select(b => Convert.ToByte(new string(b), 2))];
    }

    private byte[] Filter(int filter, byte[] row, byte[] above)
    {
        int distance = Math.Max(1, Channels * Depth / 8);
        byte[] filtered = new byte[row.Length];
        for (int i = 0; i < row.Length; i++)
        {
            int a = i >= distance ? row[i - distance] : 0, b = above[i], c = i >= distance ? above[i - distance] : 0;
            int p = a + b - c;
            (int pa, int pb, int pc) = (Math.Abs(p - a), Math.Abs(p - b), Math.Abs(p - c));
            int paeth = pa <= pb && pa <= pc ? a : pb <= pc ? b : c;
            filtered[i] = (byte)(row[i] - filter switch { 0 => 0, 1 => a, 2 => b, 3 => (a + b) / 2, _ => paeth });
        }

        return filtered;
    }
}
