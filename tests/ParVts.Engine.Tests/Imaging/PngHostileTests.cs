using System.Buffers.Binary;
using System.Diagnostics;
using System.IO.Compression;
using ParVts.Engine.Imaging;

namespace ParVts.Engine.Tests.Imaging;

public class PngHostileTests
{
    private static readonly PngMaker Small = new(5, 4, 2, 8, false);

    private static byte[] SmallFile => Small.Encode(Small.RandomSamples(new Random(5)));

    [TestCase(65535, 65535)]
    [TestCase(int.MaxValue, int.MaxValue)]
    [TestCase(1, int.MaxValue)]
    [TestCase(10_001, 10_000)]
    public void A_size_beyond_the_limits_is_refused_before_anything_is_allocated(int width, int height)
    {
        byte[] file = (Small with { Width = width, Height = height }).File([0, 1, 2, 3]);
        AssertRefusedCheaply(file, "limit");
        Assert.That(ImageDecoder.Identify(file).Width, Is.EqualTo(width));
    }

    [TestCase(9_000, 9_000, false)]
    [TestCase(9_000, 9_000, true)]
    [TestCase(100, 1_000_000, false)]
    public void A_size_that_the_compressed_data_cannot_hold_is_refused_before_anything_is_allocated(int width, int height, bool interlaced) =>
        AssertRefusedCheaply((Small with { Width = width, Height = height, Interlaced = interlaced }).File(new byte[100_000]), "cannot hold");

    [TestCase(0, 5)]
    [TestCase(5, 0)]
    [TestCase(-1, 5)]
    public void A_size_of_nothing_is_refused(int width, int height) => AssertRefused((Small with { Width = width, Height = height }).File([0]), "claims");

    [Test]
    public void A_zlib_bomb_behind_the_last_row_is_not_inflated()
    {
        byte[] bomb = (Small with { Width = 1, Height = 1 }).File(new byte[200_000_000]);
        var clock = Stopwatch.StartNew();
        long before = GC.GetAllocatedBytesForCurrentThread();
        Assert.That(ImageDecoder.Decode(bomb).Pixels, Is.EqualTo(new byte[3]));
        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.LessThan(2_000_000));
        Assert.That(clock.ElapsedMilliseconds, Is.LessThan(1000));
    }

    [Test]
    public void A_file_cut_short_anywhere_is_refused()
    {
        byte[] file = SmallFile;
        for (int length = 0; length < file.Length; length++)
            AssertRefused(file[..length]);
    }

    [Test]
    public void A_wrong_bit_anywhere_is_found()
    {
        byte[] file = SmallFile;
        for (int i = 8; i < file.Length; i++)
        {
            byte[] damaged = [.. file];
            damaged[i] ^= 0x10;
            AssertRefused(damaged);
        }
    }

    [Test]
    public void A_wrong_checksum_is_named_with_its_chunk([Values("IHDR", "PLTE", "tRNS", "zzZz", "IDAT", "IEND")] string type)
    {
        var maker = new PngMaker(1, 1, 3, 8, false) { Palette = [1, 2, 3], Transparency = [4], Extra = [("zzZz", [1])] };
        byte[] file = maker.File([0, 0]);
        Assert.That(ImageDecoder.Decode(file).Width, Is.EqualTo(1));
        int at = file.AsSpan().IndexOf(System.Text.Encoding.ASCII.GetBytes(type));
        int length = (int)BinaryPrimitives.ReadUInt32BigEndian(file.AsSpan(at - 4));
        file[at + 4 + length] ^= 1;
        AssertRefused(file, $"checksum of chunk {type}");
    }

    [Test]
    public void A_wrong_adler_sum_is_found()
    {
        using var stream = new MemoryStream();
        using (var deflater = new ZLibStream(stream, CompressionLevel.Optimal, leaveOpen: true))
            deflater.Write([0, 7]);
        byte[] compressed = stream.ToArray();
        compressed[^1] ^= 1;
        AssertRefused(new PngMaker(1, 1, 0, 8, false).FileOf(compressed), "damaged");
    }

    private static IEnumerable<TestCaseData> Wrong()
    {
        var grey = new PngMaker(1, 1, 0, 8, false);
        var palette = new PngMaker(2, 1, 3, 8, false) { Palette = [1, 2, 3, 4, 5, 6] };
        yield return Case("a palette index without a colour", palette.File([0, 1, 2]), "colour 2 of a palette of 2");
        yield return Case("no palette", (palette with { Palette = null }).File([0, 0, 0]), "no palette");
        yield return Case("a palette of 4 bytes", (palette with { Palette = [1, 2, 3, 4] }).File([0, 0, 0]), "PLTE");
        yield return Case("two palettes", (palette with { Extra = [("PLTE", [1, 2, 3])] }).File([0, 0, 0]), "twice");
        yield return Case("more alphas than colours", (palette with { Transparency = [1, 2, 3] }).File([0, 0, 0]), "tRNS");
        yield return Case("a transparent colour of one byte", (grey with { Transparency = [1] }).File([0, 0]), "tRNS");
        yield return Case("an unknown critical chunk", (grey with { Extra = [("ABCD", [])] }).File([0, 0]), "ABCD");
        yield return Case("a second header", (grey with { Extra = [("IHDR", new byte[13])] }).File([0, 0]), "IHDR");
        yield return Case("row filter 5", grey.File([5, 0]), "filter 5");
        yield return Case("a missing row", (grey with { Height = 3 }).File([0, 1, 0, 2]), "ends before the last row");
        yield return Case("no pixels", PngMaker.Join([("IHDR", [0, 0, 0, 1, 0, 0, 0, 1, 8, 0, 0, 0, 0]), ("IEND", [])]), "no IDAT");
        yield return Case("no header", PngMaker.Join([("IEND", [])]), "not IHDR");
        yield return Case("a chunk between pixels", PngMaker.Join(
            [("IHDR", [0, 0, 0, 1, 0, 0, 0, 1, 8, 0, 0, 0, 0]), ("IDAT", [1]), ("tEXt", []), ("IDAT", [2]), ("IEND", [])]), "between");
        yield return Case("colour type 1", (grey with { ColourType = 1 }).File([0, 0]), "colour type 1");
        yield return Case("depth 3", (grey with { Depth = 3 }).File([0, 0]), "3 bits");
        yield return Case("16-bit palette", (palette with { Depth = 16 }).File([0, 0]), "16 bits");
        yield return Case("interlace method 2", PngMaker.Join([("IHDR", [0, 0, 0, 1, 0, 0, 0, 1, 8, 0, 0, 0, 2]), ("IEND", [])]), "interlace");
        yield return Case("no zlib data", grey.FileOf([1, 2, 3, 4]), "damaged");
        static TestCaseData Case(string name, byte[] file, string message) => new TestCaseData(file, message).SetArgDisplayNames(name);
    }

    [TestCaseSource(nameof(Wrong))]
    public void What_the_standard_forbids_is_refused_with_a_reason(byte[] file, string message) => AssertRefused(file, message);

    [Test]
    public void A_picture_30000_pixels_long_and_one_thin_decodes([Values] bool tall)
    {
        var maker = new PngMaker(tall ? 1 : 30_000, tall ? 30_000 : 1, 0, 8, false);
        byte[] raw = new byte[tall ? 60_000 : 30_001];
        raw[^1] = 77;
        RgbImage image = ImageDecoder.Decode(maker.File(raw));
        Assert.That((image.Width, image.Height, image.Pixels[^1]), Is.EqualTo((maker.Width, maker.Height, (byte)77)));
    }

    private static void AssertRefused(byte[] file, string? message = null)
    {
        ImageFormatException? error = Assert.Throws<ImageFormatException>(() => ImageDecoder.Decode(file));
        if (message is not null)
            Assert.That(error!.Message, Does.StartWith("PNG: ").And.Contain(message));
    }

    private static void AssertRefusedCheaply(byte[] file, string message)
    {
        long before = GC.GetAllocatedBytesForCurrentThread();
        AssertRefused(file, message);
        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.LessThan(1_000_000));
    }
}
