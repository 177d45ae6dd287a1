namespace ParVts.Engine.Imaging.Jpeg;

/// <summary>
/// Reads JPEG through libturbojpeg: baseline and progressive, grey, YCbCr, RGB, CMYK and YCCK. As with Pillow, a file
/// that is cut short is an error, and lesser damage (a stray byte between markers, a bad code) is read past. Arithmetic
/// coding, which hardly any writer uses and few readers read, is refused, since nothing bounds what a small file of it claims.
/// </summary>
internal static class JpegReader
{
    public const string Format = "JPEG";

    // Each scan of a progressive file may visit every pixel again. Real ones have about 10 scans; the limits leave room
    // for odd encoders and keep a few kilobytes from costing minutes.
    private const int MaxScans = 500;
    private const long MaxPixelVisits = 2_000_000_000;
    private const int MaxCheapScans = 20;

    public static bool Recognises(ReadOnlySpan<byte> data) => data.Length >= 3 && data[0] == 0xFF && data[1] == 0xD8 && data[2] == 0xFF;

    public static ImageInfo Identify(ReadOnlySpan<byte> data)
    {
        JpegHeader header = JpegHeader.Parse(data);
        return new ImageInfo(Format, header.Width, header.Height, header.Orientation);
    }

    public static (RgbImage Image, int Orientation) Decode(ReadOnlySpan<byte> data, ImageDecodeOptions options)
    {
        JpegHeader header = JpegHeader.Parse(data);
        options.Limits.CheckSize(Format, header.Width, header.Height);
        CheckPlausible(header, data.Length);
        TurboJpeg library = options.Codecs.TurboJpeg;
        (byte[] pixels, int width, int height, bool cmyk, string? warning) = library.Decode(data, options.Limits);
        // The library reports its first warning only, so a missing end is looked for as well.
        if (warning is not null && (!header.EndSeen || warning.Contains("Premature end", StringComparison.Ordinal)))
            throw Error("the file is cut short.");
        return (new RgbImage(width, height, cmyk ? FromCmyk(pixels) : pixels), header.Orientation);
    }

    public static ImageFormatException Error(string message) => new(Format, message);

    private static void CheckPlausible(JpegHeader header, int bytes)
    {
        if (header.Arithmetic)
            throw Error("arithmetic coding is not supported. Save the picture as an ordinary JPEG.");
        if (header.Scans == 0)
            throw Error("the file ends before the pixels begin: it is cut short.");
        // Every 8 × 8 block of a component takes a bit at the very least.
        if (header.LeastBlocks > bytes * 8L)
            throw Error($"the header claims {header.Width} × {header.Height} pixels, which {bytes} bytes cannot hold.");
        long visits = (long)header.Width * header.Height * header.Scans;
        if (header.Scans > MaxScans || (header.Scans > MaxCheapScans && visits > MaxPixelVisits))
            throw Error($"{header.Width} × {header.Height} pixels in {header.Scans} scans would take too long to decode.");
    }

    /// <summary>Pillow's conversion: CMYK is stored inverted, and black scales the three others.</summary>
    private static byte[] FromCmyk(byte[] cmyk)
    {
        byte[] rgb = new byte[cmyk.Length / 4 * 3];
        for (int from = 0, to = 0; from < cmyk.Length; from += 4, to += 3)
        {
            int light = cmyk[from + 3];
            for (int c = 0; c < 3; c++)
            {
                int product = (255 - cmyk[from + c]) * light + 128;
                rgb[to + c] = (byte)Math.Max(0, light - (((product >> 8) + product) >> 8));
            }
        }

        return rgb;
    }
}
