namespace ParVts.Engine.Imaging;

/// <summary>Lays pixels with an alpha value over white, bit for bit as Pillow's <c>alpha_composite</c> does.</summary>
internal static class Alpha
{
    /// <summary>One channel, over white. Pillow computes in another way, and gets the same for all pairs of bytes.</summary>
    public static byte OverWhite(int value, int alpha) => (byte)((value * alpha + 255 * (255 - alpha) + 127) / 255);

    /// <summary>Turns rows of RGBA into RGB.</summary>
    public static void ToRgb(ReadOnlySpan<byte> rgba, Span<byte> rgb, Transparency transparency)
    {
        for (int from = 0, to = 0; from < rgba.Length; from += 4, to += 3)
        {
            ReadOnlySpan<byte> pixel = rgba.Slice(from, 4);
            Write(rgb.Slice(to, 3), pixel[0], pixel[1], pixel[2], pixel[3], transparency);
        }
    }

    /// <summary>Writes one pixel.</summary>
    public static void Write(Span<byte> rgb, byte red, byte green, byte blue, byte alpha, Transparency transparency)
    {
        if (alpha == 255 || transparency == Transparency.Drop)
        {
            rgb[2] = blue;
            rgb[1] = green;
            rgb[0] = red;
        }
        else
        {
            rgb[2] = OverWhite(blue, alpha);
            rgb[1] = OverWhite(green, alpha);
            rgb[0] = OverWhite(red, alpha);
        }
    }
}
