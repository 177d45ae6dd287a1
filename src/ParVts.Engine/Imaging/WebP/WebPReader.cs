using System.Buffers.Binary;

namespace ParVts.Engine.Imaging.WebP;

/// <summary>Reads WebP, lossy and lossless, with and without alpha, through libwebp. Animations are refused.</summary>
internal static class WebPReader
{
    public const string Format = "WebP";

    private const int RiffBytes = 12;

    public static bool Recognises(ReadOnlySpan<byte> data) =>
        data.Length >= RiffBytes && data.StartsWith("RIFF"u8) && data.Slice(8, 4).SequenceEqual("WEBP"u8);

    public static ImageInfo Identify(ReadOnlySpan<byte> data)
    {
        (int width, int height) = ReadSize(data);
        return new ImageInfo(Format, width, height, ReadOrientation(data));
    }

    public static (RgbImage Image, int Orientation) Decode(ReadOnlySpan<byte> data, ImageDecodeOptions options)
    {
        (int claimedWidth, int claimedHeight) = ReadSize(data);
        options.Limits.CheckSize(Format, claimedWidth, claimedHeight);
        LibWebP library = options.Codecs.WebP;
        (int width, int height, bool hasAlpha, bool animated) = library.ReadFeatures(data);
        if (animated)
            throw Error("animations are not supported. Save one picture of it.");
        options.Limits.CheckSize(Format, width, height);
        byte[] pixels = library.Decode(data, width, height, hasAlpha);
        if (!hasAlpha)
            return (new RgbImage(width, height, pixels), ReadOrientation(data));
        var image = new RgbImage(width, height);
        Alpha.ToRgb(pixels, image.Pixels, options.Transparency);
        return (image, ReadOrientation(data));
    }

    public static ImageFormatException Error(string message) => new(Format, message);

    /// <summary>The size in the first chunk: VP8X (extended), VP8L (lossless) or VP8 (lossy).</summary>
    private static (int Width, int Height) ReadSize(ReadOnlySpan<byte> data)
    {
        ReadOnlySpan<byte> chunk = data[RiffBytes..];
        if (chunk.Length >= 18 && chunk.StartsWith("VP8X"u8))
            return (1 + Read24(chunk[12..]), 1 + Read24(chunk[15..]));
        if (chunk.Length >= 13 && chunk.StartsWith("VP8L"u8) && chunk[8] == 0x2F)
        {
            uint bits = BinaryPrimitives.ReadUInt32LittleEndian(chunk[9..]);
            return (1 + (int)(bits & 0x3FFF), 1 + (int)((bits >> 14) & 0x3FFF));
        }

        if (chunk.Length >= 18 && chunk.StartsWith("VP8 "u8) && chunk.Slice(11, 3).SequenceEqual((ReadOnlySpan<byte>)[0x9D, 0x01, 0x2A]))
        {
            (int width, int height) = (BinaryPrimitives.ReadUInt16LittleEndian(chunk[14..]) & 0x3FFF, BinaryPrimitives.ReadUInt16LittleEndian(chunk[16..]) & 0x3FFF);
            if (width > 0 && height > 0)
                return (width, height);
        }

        throw Error("the header is damaged or cut short.");
    }

    private static int ReadOrientation(ReadOnlySpan<byte> data)
    {
        ReadOnlySpan<byte> rest = data[RiffBytes..];
        while (rest.Length >= 8)
        {
            uint length = BinaryPrimitives.ReadUInt32LittleEndian(rest[4..]);
            if (length > rest.Length - 8)
                break;
            if (rest.StartsWith("EXIF"u8))
                return Orientation.Read(rest.Slice(8, (int)length));
            // Chunks begin at even places.
            long next = 8L + length + (length & 1);
            rest = rest[(int)Math.Min(next, rest.Length)..];
        }

        return Orientation.Upright;
    }

    private static int Read24(ReadOnlySpan<byte> data) => data[0] | data[1] << 8 | data[2] << 16;
}
