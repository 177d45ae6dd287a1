namespace ParVts.Engine.Imaging.Resampling;

/// <summary>
/// Changes a picture's size exactly as Pillow (up to version 12) does for 8-bit pictures: two passes with 8 bits between
/// them, horizontally first, except for a picture taller than 100 times its width that shrinks in height. Any thread.
/// </summary>
public static class Resampler
{
    /// <summary>The picture at another size; the same object where the size is its own.</summary>
    /// <exception cref="ArgumentOutOfRangeException">A side is below 1, or the result is larger than an array can be.</exception>
    public static RgbImage Resize(RgbImage image, int width, int height, ResampleFilter filter)
    {
        ArgumentNullException.ThrowIfNull(image);
        ArgumentOutOfRangeException.ThrowIfLessThan(width, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(height, 1);
        return Window(new Canvas(image), width, height, new PixelWindow(0, 0, width, height), filter);
    }

    /// <summary>
    /// A part of the picture at another size. Only what the part needs is computed, so that a crop out of an enormous
    /// enlargement costs no more than the crop.
    /// </summary>
    internal static RgbImage Window(Canvas canvas, long width, long height, PixelWindow window, ResampleFilter filter)
    {
        RgbImage image = canvas.Image;
        if (width == canvas.Width && height == canvas.Height && !canvas.IsPadded)
            return Cut(image, window);
        if (filter == ResampleFilter.Nearest)
            return Nearest(canvas, width, height, window);

        if (canvas.Height > canvas.Width * 100L && height < canvas.Height)
        {
            // Only unpadded pictures get here: padding makes them square.
            RgbImage shrunk = VerticalPass(canvas, image, 0, height, window, filter, default);
            return HorizontalPass(new Canvas(shrunk), width, window, 0, shrunk.Height, filter, default);
        }

        AxisWeights? rows = height == canvas.Height && !canvas.IsPadded
            ? null
            : AxisWeights.Make(filter, canvas.Vertical, height, window.Top, window.Height);
        (int from, int to) = rows is null ? ((int)window.Top, (int)window.Top + window.Height) : (rows.UsedFrom, rows.UsedTo);
        // Rows of padding all become the same row.
        byte[] padding = new byte[window.Width * 3];
        // A window wholly in the padding uses no row of the picture; one is computed all the same, and not looked at.
        int count = Math.Max(1, to - from);
        from = Math.Min(from, image.Height - count);
        RgbImage narrow = HorizontalPass(canvas, width, window, from, count, filter, padding);
        return rows is null ? narrow : VerticalPass(narrow, from, rows, padding);
    }

    private static RgbImage HorizontalPass(Canvas canvas, long width, PixelWindow window, int from, int count, ResampleFilter filter, Span<byte> padding)
    {
        RgbImage image = canvas.Image;
        if (width == canvas.Width && !canvas.IsPadded)
            return Cut(image, window with { Top = from, Height = count });
        AxisWeights columns = AxisWeights.Make(filter, canvas.Horizontal, width, window.Left, window.Width);
        var result = new RgbImage(window.Width, count);
        for (int y = 0; y < count; y++)
            ResampleLoops.Row(image.Pixels, (from + y) * image.Width * 3, columns, canvas.Background, result.Row(y));
        if (canvas.IsPadded)
            ResampleLoops.ConstantRow(columns, canvas.Background, padding);
        return result;
    }

    private static RgbImage VerticalPass(Canvas canvas, RgbImage image, int from, long height, PixelWindow window, ResampleFilter filter, ReadOnlySpan<byte> padding) =>
        VerticalPass(image, from, AxisWeights.Make(filter, canvas.Vertical, height, window.Top, window.Height), padding);

    /// <summary>The rows of <paramref name="image"/> are those of the picture from <paramref name="from"/> on.</summary>
    private static RgbImage VerticalPass(RgbImage image, int from, AxisWeights rows, ReadOnlySpan<byte> padding)
    {
        var result = new RgbImage(image.Width, rows.Count);
        for (int y = 0; y < rows.Count; y++)
            ResampleLoops.Column(image.Pixels, (rows.First(y) - from) * image.Width * 3, rows.Weights(y), rows.Outside(y), padding, result.Row(y));
        return result;
    }

    private static RgbImage Cut(RgbImage image, PixelWindow window)
    {
        if (window == new PixelWindow(0, 0, image.Width, image.Height))
            return image;
        var result = new RgbImage(window.Width, window.Height);
        for (int y = 0; y < window.Height; y++)
            image.Row((int)window.Top + y).Slice((int)window.Left * 3, window.Width * 3).CopyTo(result.Row(y));
        return result;
    }

    private static RgbImage Nearest(Canvas canvas, long width, long height, PixelWindow window)
    {
        int[] columns = NearestInputs(canvas.Horizontal, width, window.Left, window.Width);
        int[] rows = NearestInputs(canvas.Vertical, height, window.Top, window.Height);
        var result = new RgbImage(window.Width, window.Height);
        (byte red, byte green, byte blue) = canvas.Background;
        for (int y = 0; y < window.Height; y++)
        {
            Span<byte> target = result.Row(y);
            for (int x = 0; x < window.Width; x++)
            {
                Span<byte> pixel = target.Slice(x * 3, 3);
                if (rows[y] < 0 || columns[x] < 0)
                    (pixel[0], pixel[1], pixel[2]) = (red, green, blue);
                else
                    canvas.Image.Row(rows[y]).Slice(columns[x] * 3, 3).CopyTo(pixel);
            }
        }

        return result;
    }

    // Pillow steps along the output by adding, so rounding accumulates: it is done here in the same way. −1 is padding.
    private static int[] NearestInputs(PaddedAxis axis, long output, long from, int count)
    {
        int[] inputs = new int[count];
        double step = (double)axis.Length / output;
        double at = step * 0.5;
        for (long i = 0; i < from; i++)
            at += step;
        for (int i = 0; i < count; i++, at += step)
        {
            int input = Math.Min((int)at, axis.Length - 1) - axis.Offset;
            inputs[i] = input >= 0 && input < axis.Size ? input : -1;
        }

        return inputs;
    }
}

/// <summary>A rectangle of a resized picture. The origin is 64 bits wide: enlargements may be longer than any array.</summary>
internal readonly record struct PixelWindow(long Left, long Top, int Width, int Height);

/// <summary>A picture, and the frame of one colour that it may lie in.</summary>
internal sealed record Canvas(RgbImage Image, PaddedAxis Horizontal, PaddedAxis Vertical, (byte Red, byte Green, byte Blue) Background)
{
    public Canvas(RgbImage image)
        : this(image, PaddedAxis.None(image.Width), PaddedAxis.None(image.Height), default)
    {
    }

    public int Width => Horizontal.Length;

    public int Height => Vertical.Length;

    public bool IsPadded => Width != Image.Width || Height != Image.Height;

    /// <summary>The picture in the middle of a square, as LLaVA's expand2square places it.</summary>
    public static Canvas Square(RgbImage image, (byte Red, byte Green, byte Blue) background)
    {
        int side = Math.Max(image.Width, image.Height);
        return new Canvas(
            image,
            new PaddedAxis(side, (side - image.Width) / 2, image.Width),
            new PaddedAxis(side, (side - image.Height) / 2, image.Height),
            background);
    }
}
