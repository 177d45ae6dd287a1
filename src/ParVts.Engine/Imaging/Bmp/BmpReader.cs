using System.Buffers.Binary;
using System.Numerics;

namespace ParVts.Engine.Imaging.Bmp;

/// <summary>
/// Reads BMP: 1, 4, 8, 16, 24 and 32 bits, bit fields with and without alpha, run-length coding, bottom-up and
/// top-down, Windows' headers up to V5 and OS/2's. The fourth byte of 32-bit pixels is alpha only where a mask says so.
/// </summary>
internal static class BmpReader
{
    public const string Format = "BMP";

    // A run of two bytes makes at most 255 pixels; jumps over unpainted pixels may make more, as small pictures of mostly background do.
    private const int MaxPixelsPerByte = 128;
    private const int AlwaysPlausible = 1 << 20;

    public static bool Recognises(ReadOnlySpan<byte> data) => data.StartsWith("BM"u8);

    public static ImageInfo Identify(ReadOnlySpan<byte> data)
    {
        BmpHeader header = BmpHeader.Parse(data);
        return new ImageInfo(Format, header.Width, header.Height, Orientation.Upright);
    }

    public static (RgbImage Image, int Orientation) Decode(ReadOnlySpan<byte> data, ImageDecodeOptions options)
    {
        BmpHeader header = BmpHeader.Parse(data);
        options.Limits.CheckSize(Format, header.Width, header.Height);
        ReadOnlySpan<byte> body = data[header.PixelsAt..];
        CheckLength(header, body.Length);
        var image = new RgbImage(header.Width, header.Height);
        if (header.IsRunLength)
            BmpRuns.Decode(body, header, image);
        else
            DecodeRows(body, header, image, options.Transparency);
        return (image, Orientation.Upright);
    }

    public static ImageFormatException Error(string message) => new(Format, message);

    private static void CheckLength(BmpHeader header, int bytes)
    {
        long pixels = (long)header.Width * header.Height;
        long needed = header.IsRunLength
            ? (pixels <= AlwaysPlausible ? 0 : pixels / MaxPixelsPerByte)
            // Some writers leave out the padding of the last row.
            : header.RowBytes * (header.Height - 1) + ((long)header.Width * header.Bits + 7) / 8;
        if (bytes < needed)
            throw Error($"{header.Width} × {header.Height} pixels need {needed} bytes; the file has {bytes}: it is cut short.");
    }

    private static void DecodeRows(ReadOnlySpan<byte> body, BmpHeader header, RgbImage image, Transparency transparency)
    {
        Channel[] channels = Array.ConvertAll(header.Masks, Channel.FromMask);
        int used = (int)(((long)header.Width * header.Bits + 7) / 8);
        for (int y = 0; y < header.Height; y++)
        {
            ReadOnlySpan<byte> row = body.Slice((int)(y * header.RowBytes), used);
            Span<byte> target = image.Row(header.TopDown ? y : header.Height - 1 - y);
            if (header.Bits <= 8)
                FromPalette(row, header, target);
            else if (channels.Length > 0)
                FromFields(row, header.Bits / 8, channels, target, transparency);
            else
                FromBytes(row, header.Bits / 8, target);
        }
    }

    private static void FromPalette(ReadOnlySpan<byte> row, BmpHeader header, Span<byte> target)
    {
        int bits = header.Bits, mask = (1 << bits) - 1;
        for (int x = 0, to = 0; to < target.Length; x += bits, to += 3)
            PutColour(header.Palette, (row[x >> 3] >> (8 - bits - (x & 7))) & mask, target.Slice(to, 3));
    }

    /// <summary>Writes a colour of the palette.</summary>
    public static void PutColour(byte[] palette, int index, Span<byte> pixel)
    {
        if (index * 3 >= palette.Length)
            throw Error($"a pixel has colour {index} of a palette of {palette.Length / 3}.");
        palette.AsSpan(index * 3, 3).CopyTo(pixel);
    }

    private static void FromBytes(ReadOnlySpan<byte> row, int bytes, Span<byte> target)
    {
        for (int from = 0, to = 0; to < target.Length; from += bytes, to += 3)
        {
            target[to] = row[from + 2];
            target[to + 1] = row[from + 1];
            target[to + 2] = row[from];
        }
    }

    private static void FromFields(ReadOnlySpan<byte> row, int bytes, Channel[] channels, Span<byte> target, Transparency transparency)
    {
        for (int from = 0, to = 0; to < target.Length; from += bytes, to += 3)
        {
            uint pixel = bytes == 2 ? BinaryPrimitives.ReadUInt16LittleEndian(row[from..]) : BinaryPrimitives.ReadUInt32LittleEndian(row[from..]);
            byte alpha = channels[3].Largest == 0 ? (byte)255 : channels[3].Value(pixel);
            Alpha.Write(target.Slice(to, 3), channels[0].Value(pixel), channels[1].Value(pixel), channels[2].Value(pixel), alpha, transparency);
        }
    }

    /// <summary>A run of bits in a pixel, scaled to 255 and rounded down, as Pillow does.</summary>
    private readonly record struct Channel(uint Largest, int Shift)
    {
        public static Channel FromMask(uint mask)
        {
            if (mask == 0)
                return default;
            int shift = BitOperations.TrailingZeroCount(mask);
            uint largest = mask >> shift;
            if ((largest & (largest + 1)) != 0)
                throw Error($"colour mask 0x{mask:X8} has a gap.");
            return new Channel(largest, shift);
        }

        public byte Value(uint pixel) => Largest == 0 ? (byte)0 : (byte)((ulong)((pixel >> Shift) & Largest) * 255 / Largest);
    }
}
