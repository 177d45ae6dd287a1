using ParVts.Engine.Imaging;
using ParVts.Engine.Imaging.Png;

namespace ParVts.Engine.Tests.Imaging;

public class PngTests
{
    private static readonly (int Type, int Depth)[] Kinds =
        [(0, 1), (0, 2), (0, 4), (0, 8), (0, 16), (2, 8), (2, 16), (3, 1), (3, 2), (3, 4), (3, 8), (4, 8), (4, 16), (6, 8), (6, 16)];

    private static readonly (int Width, int Height)[] Sizes = [(1, 1), (1, 9), (9, 1), (3, 2), (5, 5), (16, 12), (33, 17)];

    private static IEnumerable<object[]> Cases() =>
        from kind in Kinds
        from interlaced in new[] { false, true }
        from transparent in new[] { false, true }
        where !transparent || kind.Type is 0 or 2 or 3
        select new object[] { kind.Type, kind.Depth, interlaced, transparent };

    [TestCaseSource(nameof(Cases))]
    public void Every_colour_type_and_depth_decodes(int type, int depth, bool interlaced, bool transparent)
    {
        var random = new Random(type * 100 + depth);
        foreach ((int width, int height) in Sizes)
        {
            var maker = new PngMaker(width, height, type, depth, interlaced);
            int[][][] samples = maker.RandomSamples(random);
            byte[]? palette = type == 3 ? RandomBytes(random, 3 << depth) : null;
            byte[]? transparency = !transparent ? null : type == 3 ? RandomBytes(random, Math.Max(1, (1 << depth) - 1))
                : [.. samples[height / 2][width / 2].SelectMany(s => new[] { (byte)(s >> 8), (byte)s })];
            byte[] file = (maker with { Palette = palette, Transparency = transparency }).Encode(samples);
            foreach (Transparency choice in Enum.GetValues<Transparency>())
            {
                RgbImage image = ImageDecoder.Decode(file, new ImageDecodeOptions { Transparency = choice });
                byte[] expected = [.. samples.SelectMany(row => row).SelectMany(s => Expected(s, maker, palette, transparency, choice))];
                Assert.That((image.Width, image.Height), Is.EqualTo((width, height)));
                Assert.That(image.Pixels, Is.EqualTo(expected), $"{width}×{height} {choice}");
            }
        }
    }

    [Test]
    public void The_palette_of_a_true_colour_picture_is_only_a_suggestion()
    {
        var maker = new PngMaker(2, 1, 2, 8, false) { Palette = [1, 2, 3] };
        Assert.That(ImageDecoder.Decode(maker.Encode([[[9, 8, 7], [6, 5, 4]]])).Pixels, Is.EqualTo((byte[])[9, 8, 7, 6, 5, 4]));
    }

    [Test]
    public void What_follows_the_last_row_or_the_end_is_ignored()
    {
        var maker = new PngMaker(1, 2, 0, 8, false);
        byte[] file = [.. maker.File([0, 7, 0, 9, 1, 2, 3, 4, 5]), 1, 2, 3];
        Assert.That(ImageDecoder.Decode(file).Pixels, Is.EqualTo((byte[])[7, 7, 7, 9, 9, 9]));
    }

    [Test]
    public void Unknown_ancillary_chunks_are_passed_over([Values("tEXt", "acTL", "zzZz")] string type)
    {
        var maker = new PngMaker(1, 1, 0, 8, false) { Extra = [(type, [1, 2, 3])] };
        Assert.That(ImageDecoder.Decode(maker.File([0, 7])).Pixels, Is.EqualTo((byte[])[7, 7, 7]));
    }

    [TestCase(1, 1)]
    [TestCase(30, 1)]
    [TestCase(7, 19)]
    public void What_the_writer_writes_the_reader_reads(int width, int height)
    {
        var image = new RgbImage(width, height, RandomBytes(new Random(1), width * height * 3));
        RgbImage back = ImageDecoder.Decode(PngWriter.Encode(image));
        Assert.That((back.Width, back.Height), Is.EqualTo((width, height)));
        Assert.That(back.Pixels, Is.EqualTo(image.Pixels));
    }

    private static byte[] RandomBytes(Random random, int count)
    {
        byte[] bytes = new byte[count];
        random.NextBytes(bytes);
        return bytes;
    }

    // The standard's meaning of a pixel, one at a time.
    private static byte[] Expected(int[] sample, PngMaker maker, byte[]? palette, byte[]? transparency, Transparency choice)
    {
        double Scale(int s) => maker.Depth == 16 ? s >> 8 : s * 255 / maker.Largest;
        double alpha = 255;
        double[] colour;
        switch (maker.ColourType)
        {
            case 3:
                colour = [palette![sample[0] * 3], palette[sample[0] * 3 + 1], palette[sample[0] * 3 + 2]];
                if (transparency is not null && sample[0] < transparency.Length)
                    alpha = transparency[sample[0]];
                break;
            case 0 or 4:
                colour = [Scale(sample[0]), Scale(sample[0]), Scale(sample[0])];
                break;
            default:
                colour = [Scale(sample[0]), Scale(sample[1]), Scale(sample[2])];
                break;
        }

        if (maker.ColourType >= 4)
            alpha = Scale(sample[^1]);
        else if (maker.ColourType != 3 && transparency is not null && sample.Select((s, i) => transparency[i * 2] * 256 + transparency[i * 2 + 1] == s).All(same => same))
            alpha = 0;
        if (choice == Transparency.Drop)
            alpha = 255;
        return [.. colour.Select(c => (byte)Math.Round(c * alpha / 255 + 255 - alpha))];
    }
}
