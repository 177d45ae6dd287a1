using ParVts.Engine.Imaging;
using ParVts.Engine.Imaging.Resampling;

namespace ParVts.Engine.Tests.Imaging;

/// <summary>Pillow's rule for resizing, written out pixel by pixel in long integers, one pass at a time.</summary>
internal static class NaiveResize
{
    public static RgbImage Horizontal(RgbImage image, int width, ResampleFilter filter)
    {
        if (width == image.Width)
            return image;
        var result = new RgbImage(width, image.Height);
        for (int x = 0; x < width; x++)
        {
            (int first, long[] weights) = Taps(image.Width, width, x, filter);
            for (int y = 0; y < image.Height; y++)
            {
                for (int c = 0; c < 3; c++)
                {
                    long sum = weights.Select((w, t) => w * image.Pixels[(y * image.Width + first + t) * 3 + c]).Sum();
                    result.Pixels[(y * width + x) * 3 + c] = (byte)Math.Clamp((sum + (1 << 21)) >> 22, 0, 255);
                }
            }
        }

        return result;
    }

    public static RgbImage Vertical(RgbImage image, int height, ResampleFilter filter) =>
        Transposed(Horizontal(Transposed(image), height, filter));

    private static RgbImage Transposed(RgbImage image) => Orientation.Apply(image, 5);

    private static (int First, long[] Weights) Taps(int size, int output, int i, ResampleFilter filter)
    {
        double ratio = (double)size / output, stretch = Math.Max(1, ratio);
        double support = stretch * filter switch { ResampleFilter.Box => 0.5, ResampleFilter.Bicubic => 2, ResampleFilter.Lanczos => 3, _ => 1 };
        double centre = (i + 0.5) * ratio;
        int first = Math.Max(0, (int)(centre - support + 0.5)), end = Math.Min(size, (int)(centre + support + 0.5));
        double[] weights = [.. Enumerable.Range(first, end - first).Select(x => Shape((x - centre + 0.5) / stretch, filter))];
        double sum = weights.Sum();
        return (first, [.. weights.Select(w => (long)Math.Round(w / sum * (1 << 22), MidpointRounding.AwayFromZero))]);
    }

    private static double Shape(double x, ResampleFilter filter)
    {
        double a = Math.Abs(x);
        return filter switch
        {
            ResampleFilter.Box => x is > -0.5 and <= 0.5 ? 1 : 0,
            ResampleFilter.Bilinear => Math.Max(0, 1 - a),
            ResampleFilter.Hamming => a >= 1 ? 0 : Sinc(a) * (0.54 + 0.46 * Math.Cos(Math.PI * a)),
            ResampleFilter.Bicubic => a < 1 ? 1.5 * a * a * a - 2.5 * a * a + 1 : a < 2 ? -0.5 * a * a * a + 2.5 * a * a - 4 * a + 2 : 0,
            _ => a < 3 ? Sinc(a) * Sinc(a / 3) : 0,
        };
    }

    private static double Sinc(double x) => x == 0 ? 1 : Math.Sin(Math.PI * x) / (Math.PI * x);
}
