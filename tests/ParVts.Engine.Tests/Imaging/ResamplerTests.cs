using System.Diagnostics;
using ParVts.Engine.Imaging;
using ParVts.Engine.Imaging.Resampling;

namespace ParVts.Engine.Tests.Imaging;

public class ResamplerTests
{
    private static readonly ResampleFilter[] Weighted = [.. Enum.GetValues<ResampleFilter>().Where(f => f != ResampleFilter.Nearest)];

    [Test]
    public void Random_sizes_agree_with_the_rule_written_out([ValueSource(nameof(Weighted))] ResampleFilter filter)
    {
        var random = new Random((int)filter);
        for (int i = 0; i < 60; i++)
        {
            RgbImage image = Noise(random, 1 + random.Next(60), 1 + random.Next(60));
            (int width, int height) = (1 + random.Next(80), 1 + random.Next(80));
            byte[] expected = NaiveResize.Vertical(NaiveResize.Horizontal(image, width, filter), height, filter).Pixels;
            Assert.That(Resampler.Resize(image, width, height, filter).Pixels, Is.EqualTo(expected), $"{image.Width}×{image.Height} to {width}×{height}");
        }
    }

    [TestCase(3, 301, 20, 60, true)]
    [TestCase(3, 300, 20, 60, false)]
    [TestCase(2, 777, 5, 776, true)]
    [TestCase(2, 777, 5, 778, false)]
    public void A_very_tall_picture_that_shrinks_goes_vertically_first(int width, int height, int toWidth, int toHeight, bool verticallyFirst)
    {
        RgbImage image = Noise(new Random(1), width, height);
        RgbImage vertically = NaiveResize.Horizontal(NaiveResize.Vertical(image, toHeight, ResampleFilter.Bicubic), toWidth, ResampleFilter.Bicubic);
        RgbImage horizontally = NaiveResize.Vertical(NaiveResize.Horizontal(image, toWidth, ResampleFilter.Bicubic), toHeight, ResampleFilter.Bicubic);
        Assert.That(vertically.Pixels, Is.Not.EqualTo(horizontally.Pixels));
        Assert.That(Resampler.Resize(image, toWidth, toHeight, ResampleFilter.Bicubic).Pixels, Is.EqualTo((verticallyFirst ? vertically : horizontally).Pixels));
    }

    [Test]
    public void Padding_that_is_only_imagined_equals_padding_that_is_there([Values(1, 7, 30)] int width, [Values(1, 8, 40)] int height)
    {
        RgbImage image = Noise(new Random(2), width, height);
        Canvas imagined = Canvas.Square(image, (200, 90, 3));
        int side = Math.Max(width, height);
        RgbImage real = PreprocessorTests.Expand(image, (200, 90, 3));
        foreach (ResampleFilter filter in Enum.GetValues<ResampleFilter>())
        {
            foreach (int target in (int[])[3, side, 24, 61])
            {
                RgbImage expected = Resampler.Resize(real, target, target, filter);
                Assert.That(Resampler.Window(imagined, target, target, new PixelWindow(0, 0, target, target), filter).Pixels, Is.EqualTo(expected.Pixels), $"{filter} {target}");
                var corner = new PixelWindow(target - 1, 0, 1, 1);
                Assert.That(Resampler.Window(imagined, target, target, corner, filter).Pixels, Is.EqualTo(expected.Pixels.AsSpan((target - 1) * 3, 3).ToArray()), $"{filter} {target} corner");
            }
        }
    }

    [Test]
    public void Nearest_takes_the_pixel_under_the_centre()
    {
        var image = new RgbImage(4, 1, [1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4]);
        byte[] half = Resampler.Resize(image, 2, 1, ResampleFilter.Nearest).Pixels;
        Assert.That(half, Is.EqualTo((byte[])[2, 2, 2, 4, 4, 4]));
        byte[] twice = Resampler.Resize(image, 8, 1, ResampleFilter.Nearest).Pixels;
        Assert.That(twice.Where((_, i) => i % 3 == 0), Is.EqualTo((byte[])[1, 1, 2, 2, 3, 3, 4, 4]));
    }

    [Test]
    public void The_same_size_is_the_same_picture()
    {
        RgbImage image = Noise(new Random(3), 5, 6);
        Assert.That(Resampler.Resize(image, 5, 6, ResampleFilter.Lanczos), Is.SameAs(image));
    }

    [TestCase(0, 1)]
    [TestCase(1, -1)]
    [TestCase(100_000, 100_000)]
    public void Sizes_that_cannot_be_are_refused(int width, int height) =>
        Assert.That(() => Resampler.Resize(new RgbImage(1, 1), width, height, ResampleFilter.Box), Throws.InstanceOf<ArgumentOutOfRangeException>());

    [Test]
    public void A_photograph_of_12_million_pixels_shrinks_quickly()
    {
        RgbImage photo = Noise(new Random(4), 4000, 3000);
        Resampler.Resize(photo, 448, 336, ResampleFilter.Bicubic);
        var clock = Stopwatch.StartNew();
        Resampler.Resize(photo, 448, 336, ResampleFilter.Bicubic);
        TestContext.Out.WriteLine($"4000 × 3000 to 448 × 336, bicubic: {clock.ElapsedMilliseconds} ms");
        // About 0.1 s on an idle core; the machine may be busy.
        Assert.That(clock.ElapsedMilliseconds, Is.LessThan(1500));
    }

    public static RgbImage Noise(Random random, int width, int height)
    {
        var image = new RgbImage(width, height);
        random.NextBytes(image.Pixels);
        return image;
    }
}
