using System.Buffers.Binary;
using System.Text;

namespace ParVts.Engine.Imaging.Png;

/// <summary>
/// Reads PNG: all colour types and depths, interlacing, transparency. Where readers differ, this one is strict: the CRC of every
/// chunk counts (as Pillow has it up to the pixels), an unknown critical chunk, a palette index without a colour and a missing IEND are errors.
/// What follows IEND, and what the compressed data holds beyond the last row, is ignored. Samples of 16 bits give their high
/// byte (for grey, too, where Pillow clips instead); a transparent colour of 16 bits is compared in full.
/// Of an animated PNG the still picture is read.
/// </summary>
internal static class PngReader
{
    public const string Format = "PNG";

    // No deflate stream grows by more: a match of 258 bytes takes at least two bits.
    private const int MaxDeflateRatio = 1032;
    private const int ChunkOverhead = 12;

    private static ReadOnlySpan<byte> Signature => [0x89, (byte)'P', (byte)'N', (byte)'G', 0x0D, 0x0A, 0x1A, 0x0A];

    public static bool Recognises(ReadOnlySpan<byte> data) => data.StartsWith(Signature);

    public static ImageInfo Identify(ReadOnlySpan<byte> data)
    {
        PngHeader header = ReadHeader(data, out int next);
        int orientation = Orientation.Upright;
        // Orientation may stand anywhere, and a file cut short after its header still has a size.
        while (TryReadChunk(data, ref next, out ReadOnlySpan<byte> type, out ReadOnlySpan<byte> body, out _) && !type.SequenceEqual("IEND"u8))
        {
            if (type.SequenceEqual("eXIf"u8))
                orientation = Orientation.Read(body);
        }

        return new ImageInfo(Format, header.Width, header.Height, orientation);
    }

    public static (RgbImage Image, int Orientation) Decode(ReadOnlySpan<byte> data, ImageDecodeOptions options)
    {
        PngHeader header = ReadHeader(data, out int next);
        options.Limits.CheckSize(Format, header.Width, header.Height);

        byte[]? palette = null;
        byte[]? transparency = null;
        int orientation = Orientation.Upright;
        int start = next;
        long compressedLength = 0;
        bool pixelsEnded = false;
        while (true)
        {
            ReadOnlySpan<byte> type = ReadChunk(data, ref next, out ReadOnlySpan<byte> body);
            bool isPixels = type.SequenceEqual("IDAT"u8);
            pixelsEnded |= compressedLength > 0 && !isPixels;
            if (isPixels)
            {
                if (pixelsEnded)
                    throw Error("another chunk stands between two IDAT chunks.");
                compressedLength += body.Length;
            }
            else if (type.SequenceEqual("IEND"u8))
                break;
            else if (type.SequenceEqual("PLTE"u8))
                palette = ReadPalette(body, palette is not null || pixelsEnded);
            else if (type.SequenceEqual("tRNS"u8))
                transparency = body.ToArray();
            else if (type.SequenceEqual("eXIf"u8))
                orientation = Orientation.Read(body);
            else if ((type[0] & 0x20) == 0)
                throw Error($"chunk {Name(type)} is needed to show the picture, and is unknown or out of place.");
        }

        CheckPlausible(header, compressedLength);
        var pixels = new PngPixels(header, palette, transparency, options.Transparency);
        return (Inflate(header, pixels, Join(data, start, compressedLength)), orientation);
    }

    public static ImageFormatException Error(string message, Exception? inner = null) => new(Format, message, inner);

    private static PngHeader ReadHeader(ReadOnlySpan<byte> data, out int next)
    {
        next = Signature.Length;
        ReadOnlySpan<byte> type = ReadChunk(data, ref next, out ReadOnlySpan<byte> body);
        if (!type.SequenceEqual("IHDR"u8))
            throw Error($"the first chunk is {Name(type)}, not IHDR.");
        return PngHeader.Parse(body);
    }

    /// <summary>The type of the chunk at <paramref name="next"/>, and its body; its checksum is right.</summary>
    private static ReadOnlySpan<byte> ReadChunk(ReadOnlySpan<byte> data, ref int next, out ReadOnlySpan<byte> body)
    {
        int at = next;
        if (!TryReadChunk(data, ref next, out ReadOnlySpan<byte> type, out body, out uint crc))
            throw Error($"the file is cut short: it ends at byte {data.Length}, within or before the chunk at byte {at}.");
        if (Crc32.Append(0, data.Slice(at + 4, 4 + body.Length)) != crc)
            throw Error($"the checksum of chunk {Name(type)} at byte {at} is wrong: the file is damaged.");
        return type;
    }

    private static bool TryReadChunk(ReadOnlySpan<byte> data, ref int next, out ReadOnlySpan<byte> type, out ReadOnlySpan<byte> body, out uint crc)
    {
        type = body = default;
        crc = 0;
        ReadOnlySpan<byte> rest = data[next..];
        if (rest.Length < ChunkOverhead)
            return false;
        uint length = BinaryPrimitives.ReadUInt32BigEndian(rest);
        if (length > rest.Length - ChunkOverhead)
            return false;
        type = rest.Slice(4, 4);
        body = rest.Slice(8, (int)length);
        crc = BinaryPrimitives.ReadUInt32BigEndian(rest[(8 + (int)length)..]);
        next += ChunkOverhead + (int)length;
        return true;
    }

    private static byte[] ReadPalette(ReadOnlySpan<byte> body, bool misplaced)
    {
        if (misplaced)
            throw Error("chunk PLTE stands twice, or behind the pixels.");
        if (body.Length is 0 or > 256 * 3 || body.Length % 3 != 0)
            throw Error($"PLTE has {body.Length} bytes; 3 to 768, a multiple of 3, are possible.");
        return body.ToArray();
    }

    private static void CheckPlausible(PngHeader header, long compressed)
    {
        if (compressed == 0)
            throw Error("the file holds no pixels: there is no IDAT chunk.");
        long raw = 0;
        foreach (PngPass pass in header.Passes())
            raw += pass.Height * (header.RowBytes(pass.Width) + 1);
        if (raw > compressed * MaxDeflateRatio)
            throw Error($"the header claims {header.Width} × {header.Height} pixels, which {compressed} bytes of compressed data cannot hold.");
    }

    private static byte[] Join(ReadOnlySpan<byte> data, int next, long length)
    {
        byte[] joined = new byte[length];
        int at = 0;
        while (at < length && TryReadChunk(data, ref next, out ReadOnlySpan<byte> type, out ReadOnlySpan<byte> body, out _))
        {
            if (!type.SequenceEqual("IDAT"u8))
                continue;
            body.CopyTo(joined.AsSpan(at));
            at += body.Length;
        }

        return joined;
    }

    private static RgbImage Inflate(PngHeader header, PngPixels pixels, byte[] compressed)
    {
        using var rows = new PngRows(header, compressed);
        var image = new RgbImage(header.Width, header.Height);
        byte[] scratch = header.Interlaced ? new byte[header.Width * 3] : [];
        foreach (PngPass pass in header.Passes())
        {
            rows.BeginPass(pass.Width);
            for (int j = 0; j < pass.Height; j++)
            {
                ReadOnlySpan<byte> row = rows.Next();
                Span<byte> target = image.Row(pass.Y + j * pass.StepY);
                if (!header.Interlaced)
                {
                    pixels.Convert(row, target);
                    continue;
                }

                Span<byte> line = scratch.AsSpan(0, pass.Width * 3);
                pixels.Convert(row, line);
                for (int from = 0, to = pass.X * 3; from < line.Length; from += 3, to += pass.StepX * 3)
                    line.Slice(from, 3).CopyTo(target[to..]);
            }
        }

        rows.Finish();
        return image;
    }

    private static string Name(ReadOnlySpan<byte> type)
    {
        foreach (byte b in type)
        {
            if (!char.IsAsciiLetter((char)b))
                return "0x" + System.Convert.ToHexString(type);
        }

        return Encoding.ASCII.GetString(type);
    }
}
