using System.Diagnostics;
using ParVts.Engine.Imaging;
using ParVts.Engine.Tests.Fuzz;

namespace ParVts.Engine.Tests.Imaging;

/// <summary>Damaged pictures of every format: each is decoded or refused with a typed error, soon and within the limits.</summary>
public class ImageFuzzTests
{
    private static readonly int Count = TestData.Full ? 500_000 : 50_000;

    // Small enough that a file which claims the most it may still takes no time.
    private static readonly ImageDecodeOptions Options = new() { Limits = new ImageLimits { MaxPixels = 1_000_000 } };

    private static readonly (string Name, byte[] Data)[] Seeds = MakeSeeds();

    private static readonly string[] Formats = [.. Seeds.Select(s => s.Name[..3]).Distinct()];

    [TestCaseSource(nameof(Formats))]
    public void Damaged_pictures_are_decoded_or_refused(string format)
    {
        byte[][] seeds = [.. Seeds.Where(s => s.Name.StartsWith(format, StringComparison.Ordinal)).Select(s => s.Data)];
        Assert.That(seeds.Select(s => ImageDecoder.Decode(s, Options).Width), Is.All.Positive);
        int each = Count / Formats.Length, decoded = 0, refused = 0;
        for (int i = 0; i < each; i++)
        {
            byte[] data = Mutator.Mutate(seeds[i % seeds.Length], new Random(i));
            // Half of the PNGs get past their checksums.
            if (format == "PNG" && i % 2 == 0 && data.Length > 8)
                PngMaker.RepairChecksums(data);
            long start = Stopwatch.GetTimestamp();
            try
            {
                ImageInfo info = ImageDecoder.Identify(data);
                RgbImage image = ImageDecoder.Decode(data, Options);
                Assert.That((long)info.Width * info.Height, Is.EqualTo((long)image.Width * image.Height), $"{format} {i}");
                decoded++;
            }
            catch (ImageFormatException)
            {
                refused++;
            }
            catch (Exception e) when (e is not AssertionException)
            {
                Assert.Fail($"{format} {i}: {e}");
            }

            Assert.That(Stopwatch.GetElapsedTime(start).TotalSeconds, Is.LessThan(1), $"{format} {i}");
        }

        TestContext.Out.WriteLine($"{format}: {each} files, {decoded} decoded, {refused} refused");
        Assert.That(decoded, Is.GreaterThan(each / 100));
        Assert.That(refused, Is.GreaterThan(each / 100));
    }

    private static (string Name, byte[] Data)[] MakeSeeds()
    {
        var random = new Random(1);
        var list = new List<(string, byte[])>();
        foreach ((int type, int depth, bool interlaced) in new[] { (0, 2, false), (2, 8, true), (3, 4, false), (6, 16, true), (4, 8, false) })
        {
            var maker = new PngMaker(16, 12, type, depth, interlaced);
            byte[]? palette = type == 3 ? [.. Enumerable.Range(0, 48).Select(i => (byte)i)] : null;
            byte[]? transparency = type == 3 ? [1, 2, 3] : null;
            list.Add(("PNG", (maker with { Palette = palette, Transparency = transparency }).Encode(maker.RandomSamples(random))));
        }

        byte[] noise = new byte[16 * 12 * 4];
        random.NextBytes(noise);
        byte[] colours = noise[..(256 * 3)];
        list.Add(("BMP", new BmpMaker(16, 12, 24).File(noise[..(16 * 12 * 3)])));
        list.Add(("BMP", new BmpMaker(16, 12, 8) { Palette = colours }.File(noise[..(16 * 12)])));
        list.Add(("BMP", new BmpMaker(16, -12, 32) { HeaderBytes = 124, Compression = 3, Masks = [0xFF0000, 0xFF00, 0xFF, 0xFF000000] }.File(noise)));
        list.Add(("BMP", new BmpMaker(16, 3, 8) { Compression = 1, Palette = colours }.File([9, 1, 0, 7, 1, 2, 3, 4, 5, 6, 7, 0, 0, 0, 0, 2, 3, 1, 5, 5, 0, 1])));
        foreach (string header in new[] { "P6 16 12 255\n", "P5#c\n16 12 255\n", "P4 16 12\n", "P5 8 12 1000\n" })
            list.Add(("PPM", [.. System.Text.Encoding.ASCII.GetBytes(header), .. noise]));
        list.Add(("PPM", [.. "P3 2 2 100\n1 2 3 4 5 6 7 8 9 10 11 12"u8]));
        list.AddRange(CodecSeed.Decodable.Select(s => (s.Name.EndsWith("Jpeg", StringComparison.Ordinal) ? "JPEG" : "WebP", s.Data)));
        return [.. list];
    }
}
