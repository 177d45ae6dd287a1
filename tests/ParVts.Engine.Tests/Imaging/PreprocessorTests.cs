using System.Diagnostics;
using ParVts.Engine.Imaging;
using ParVts.Engine.Imaging.Resampling;

namespace ParVts.Engine.Tests.Imaging;

public class PreprocessorTests
{
    private static readonly ImagePreprocessorSettings Clip = new() { ShortestEdge = 24, CropHeight = 24, CropWidth = 24 };

    // Values as they come out, so that pixels can be read back.
    private static readonly ImagePreprocessorSettings Plain = Clip with { DoRescale = false, DoNormalize = false };

    [Test]
    public void Pad_is_LLaVAs_square_in_the_mean_colour([Values(9, 30, 31)] int width, [Values(10, 30)] int height)
    {
        RgbImage image = ResamplerTests.Noise(new Random(1), width, height);
        RgbImage square = Expand(image, (122, 116, 104));
        float[] expected = new ImagePreprocessor(Clip).Process(square);
        Assert.That(new ImagePreprocessor(Clip).Process(image, ImageAspect.Pad), Is.EqualTo(expected));
        Assert.That(new ImagePreprocessor(Clip with { PadToSquare = true }).Process(image), Is.EqualTo(expected));
    }

    [Test]
    public void Prepared_pictures_can_be_shown_again()
    {
        RgbImage image = ResamplerTests.Noise(new Random(4), 24, 24);
        var preprocessor = new ImagePreprocessor(Clip);
        RgbImage shown = preprocessor.ToImage(preprocessor.Process(image));
        Assert.That(shown.Pixels, Is.EqualTo(image.Pixels));
        Assert.That(() => preprocessor.ToImage(new float[7]), Throws.ArgumentException);
    }

    [Test]
    public void Stretch_brings_both_sides_to_the_models_size()
    {
        RgbImage image = ResamplerTests.Noise(new Random(2), 37, 91);
        Assert.That(new ImagePreprocessor(Plain).Process(image, ImageAspect.Stretch), Is.EqualTo(Planes(Resampler.Resize(image, 24, 24, ResampleFilter.Bicubic))));
    }

    [Test]
    public void Crop_is_CLIPs_way_whatever_the_model_does()
    {
        RgbImage image = ResamplerTests.Noise(new Random(3), 48, 91);
        var siglip = new ImagePreprocessor(Plain with { ShortestEdge = null, Height = 24, Width = 24, DoCenterCrop = false });
        Assert.That(siglip.Process(image, ImageAspect.Crop), Is.EqualTo(new ImagePreprocessor(Plain).Process(image)));
        Assert.That(siglip.Process(image), Is.EqualTo(siglip.Process(image, ImageAspect.Stretch)));
    }

    [Test]
    public void What_is_too_small_to_cut_has_black_round_it_the_odd_row_first()
    {
        var settings = Clip with { DoResize = false, CropHeight = 4, CropWidth = 3, DoRescale = false, DoNormalize = false };
        float[] values = new ImagePreprocessor(settings).Process(new RgbImage(2, 1, [1, 2, 3, 4, 5, 6]));
        Assert.That(values[..12], Is.EqualTo((float[])[0, 0, 0, 0, 0, 0, 0, 1, 4, 0, 0, 0]));
        float[] wide = new ImagePreprocessor(settings).Process(new RgbImage(6, 1, [.. Enumerable.Range(0, 18).Select(i => (byte)i)]));
        Assert.That(wide[..12], Is.EqualTo((float[])[0, 0, 0, 0, 0, 0, 3, 6, 9, 0, 0, 0]));
    }

    [Test]
    public void Black_round_a_picture_is_normalised_as_well()
    {
        var settings = Clip with { DoResize = false, CropHeight = 2, CropWidth = 1 };
        float[] values = new ImagePreprocessor(settings).Process(new RgbImage(1, 1));
        Assert.That(values[0], Is.EqualTo(values[1]).And.EqualTo((0f - 0.48145466f) / 0.26862954f));
    }

    [TestCase(1, 1)]
    [TestCase(30_000, 1)]
    [TestCase(1, 30_000)]
    [TestCase(1_000_000, 1)]
    public void The_thinnest_pictures_cost_no_more_than_others(int width, int height)
    {
        var preprocessor = new ImagePreprocessor(new ImagePreprocessorSettings { ShortestEdge = 336, CropHeight = 336, CropWidth = 336 });
        RgbImage image = ResamplerTests.Noise(new Random(5), width, height);
        foreach (ImageAspect aspect in Enum.GetValues<ImageAspect>())
        {
            var clock = Stopwatch.StartNew();
            long before = GC.GetAllocatedBytesForCurrentThread();
            float[] values = preprocessor.Process(image, aspect);
            Assert.That(values.All(float.IsFinite), aspect.ToString());
            Assert.That(values.Distinct().Count(), Is.GreaterThan(1));
            Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.LessThan(150_000_000), aspect.ToString());
            Assert.That(clock.ElapsedMilliseconds, Is.LessThan(2000), aspect.ToString());
        }
    }

    private static IEnumerable<ImagePreprocessorSettings> Impossible() =>
    [
        Clip with { DoCenterCrop = false },
        Clip with { CropHeight = 0 },
        Clip with { CropWidth = -3 },
        Clip with { ShortestEdge = 0 },
        Clip with { CropHeight = int.MaxValue },
        Clip with { ShortestEdge = null },
        Clip with { ImageMean = [0.5] },
        Clip with { ImageStd = [0, 1, 1] },
        Clip with { RescaleFactor = double.NaN },
        Clip with { Resample = (ResampleFilter)9 },
        Clip with { DoCenterCrop = false, DoResize = false, Height = 3, Width = 3 },
        Clip with { DoNormalize = false, PadToSquare = true, ImageMean = [] },
    ];

    [TestCaseSource(nameof(Impossible))]
    public void Settings_that_cannot_be_are_refused(ImagePreprocessorSettings settings) =>
        Assert.That(() => new ImagePreprocessor(settings), Throws.TypeOf<ModelFormatException>().With.Message.Contains("preprocessor_config.json"));

    [Test]
    public void An_output_of_another_length_is_refused() =>
        Assert.That(() => new ImagePreprocessor(Clip).Process(new RgbImage(1, 1), new float[5]), Throws.ArgumentException);

    [Test]
    public void One_preprocessor_serves_many_threads()
    {
        var preprocessor = new ImagePreprocessor(Clip);
        RgbImage image = ResamplerTests.Noise(new Random(6), 100, 50);
        float[] expected = preprocessor.Process(image);
        Parallel.For(0, 50, _ => Assert.That(preprocessor.Process(image), Is.EqualTo(expected)));
    }

    /// <summary>LLaVA's expand2square, written out.</summary>
    public static RgbImage Expand(RgbImage image, (byte Red, byte Green, byte Blue) background)
    {
        int side = Math.Max(image.Width, image.Height), left = (side - image.Width) / 2, top = (side - image.Height) / 2;
        var square = new RgbImage(side, side);
        for (int i = 0; i < square.Pixels.Length; i += 3)
            (square.Pixels[i], square.Pixels[i + 1], square.Pixels[i + 2]) = background;
        for (int y = 0; y < image.Height; y++)
            image.Pixels.AsSpan(y * image.Width * 3, image.Width * 3).CopyTo(square.Pixels.AsSpan(((top + y) * side + left) * 3));
        return square;
    }

    private static float[] Planes(RgbImage image) =>
        [.. Enumerable.Range(0, 3).SelectMany(c => image.Pixels.Where((_, i) => i % 3 == c)).Select(b => (float)b)];
}
