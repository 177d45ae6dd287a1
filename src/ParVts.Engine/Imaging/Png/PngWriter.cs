using System.Buffers.Binary;
using System.IO.Compression;

namespace ParVts.Engine.Imaging.Png;

/// <summary>Writes pictures as PNG: RGB, 8 bits. Any thread.</summary>
public static class PngWriter
{
    private const byte UpFilter = 2;

    /// <summary>The bytes of a PNG file.</summary>
    public static byte[] Encode(RgbImage image)
    {
        using var stream = new MemoryStream();
        Write(image, stream);
        return stream.ToArray();
    }

    /// <summary>Writes a file.</summary>
    /// <exception cref="IOException">The file cannot be written.</exception>
    public static void Save(RgbImage image, string path)
    {
        using FileStream file = File.Create(path);
        Write(image, file);
    }

    /// <summary>Writes to a stream, which stays open.</summary>
    public static void Write(RgbImage image, Stream stream)
    {
        ArgumentNullException.ThrowIfNull(image);
        ArgumentNullException.ThrowIfNull(stream);
        stream.Write([0x89, (byte)'P', (byte)'N', (byte)'G', 0x0D, 0x0A, 0x1A, 0x0A]);
        Span<byte> header = stackalloc byte[PngHeader.Length];
        header.Clear();
        BinaryPrimitives.WriteInt32BigEndian(header, image.Width);
        BinaryPrimitives.WriteInt32BigEndian(header[4..], image.Height);
        header[8] = 8;
        header[9] = (byte)PngColour.Rgb;
        WriteChunk(stream, "IHDR"u8, header);
        using MemoryStream compressed = Compress(image);
        WriteChunk(stream, "IDAT"u8, compressed.GetBuffer().AsSpan(0, (int)compressed.Length));
        WriteChunk(stream, "IEND"u8, []);
    }

    private static MemoryStream Compress(RgbImage image)
    {
        var compressed = new MemoryStream();
        using var deflater = new ZLibStream(compressed, CompressionLevel.Optimal, leaveOpen: true);
        // One filter for all rows: the difference to the row above suits photographs and drawings well enough.
        byte[] line = new byte[1 + image.Width * 3];
        line[0] = UpFilter;
        ReadOnlySpan<byte> above = new byte[image.Width * 3];
        for (int y = 0; y < image.Height; y++)
        {
            ReadOnlySpan<byte> row = image.Row(y);
            for (int i = 0; i < row.Length; i++)
                line[i + 1] = (byte)(row[i] - above[i]);
            deflater.Write(line);
            above = row;
        }

        return compressed;
    }

    private static void WriteChunk(Stream stream, ReadOnlySpan<byte> type, ReadOnlySpan<byte> body)
    {
        Span<byte> number = stackalloc byte[4];
        BinaryPrimitives.WriteInt32BigEndian(number, body.Length);
        stream.Write(number);
        stream.Write(type);
        stream.Write(body);
        BinaryPrimitives.WriteUInt32BigEndian(number, Crc32.Append(Crc32.Append(0, type), body));
        stream.Write(number);
    }
}
