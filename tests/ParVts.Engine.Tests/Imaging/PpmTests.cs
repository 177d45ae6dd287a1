using System.Text;
using ParVts.Engine.Imaging;
using ParVts.Engine.Imaging.Ppm;

namespace ParVts.Engine.Tests.Imaging;

public class PpmTests
{
    private static IEnumerable<TestCaseData> Files()
    {
        yield return Case("P1 3 2\n1 0 1 0#c\n01", [0, 255, 0, 255, 255, 0], grey: true);
        yield return Case("P1\n# comment\n3 2\n101001", [0, 255, 0, 255, 255, 0], grey: true);
        yield return Case("P2 3 1 255 0 128 255", [0, 128, 255], grey: true);
        yield return Case("P2 3 1 7 0 3 7", [0, 109, 255], grey: true);
        yield return Case("P3 2 1 65535 0 32768 65535\n256 257 1", [0, 128, 255, 1, 1, 0]);
        yield return Case("P4 9 2 \u0081\u0080\u0000\u0000", [0, 255, 255, 255, 255, 255, 255, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255, 255], grey: true);
        yield return Case("P5 3 1 255\nabc", [97, 98, 99], grey: true);
        yield return Case("P5 2 1 100\n\u0032\u00FF", [128, 255], grey: true);
        yield return Case("P5 2 1 1000\n\u0001\u00F4\u0003\u00E8", [128, 255], grey: true);
        yield return Case("P6#x\n1#y\n1 255\nabc", [97, 98, 99]);
        yield return Case("P6 1 1 65535\n\u0000\u00FF\u0080\u0000\u00FF\u00FFtrailing", [1, 128, 255]);
        static TestCaseData Case(string file, byte[] pixels, bool grey = false) =>
            new TestCaseData(Encoding.Latin1.GetBytes(file), grey ? [.. pixels.SelectMany(p => new[] { p, p, p })] : pixels).SetArgDisplayNames(file[..8].ReplaceLineEndings(" "));
    }

    [TestCaseSource(nameof(Files))]
    public void Every_kind_decodes(byte[] file, byte[] pixels) => Assert.That(ImageDecoder.Decode(file).Pixels, Is.EqualTo(pixels));

    [TestCase("P6 ")]
    [TestCase("P6 2 2 255")]
    [TestCase("P6 2 2 255\nabc")]
    [TestCase("P6 0 2 255\n")]
    [TestCase("P6 -1 2 255\nabc")]
    [TestCase("P6 1 1 0\nabc")]
    [TestCase("P6 1 1 65536\nabcdefg")]
    [TestCase("P6 65535 65535 255\nabc")]
    [TestCase("P6 9999999999 1 255\nabc")]
    [TestCase("P5 9000 9000 255\nabc")]
    [TestCase("P4 9000 9000\nabc")]
    [TestCase("P1 2 2 1 0 1")]
    [TestCase("P1 2 1 1 2")]
    [TestCase("P2 2 1 255 1")]
    [TestCase("P2 1 1 255 256")]
    [TestCase("P3 1 1 255 1 2 x")]
    public void What_is_wrong_is_refused(string file)
    {
        ImageFormatException? error = Assert.Throws<ImageFormatException>(() => ImageDecoder.Decode(Encoding.Latin1.GetBytes(file)));
        Assert.That(error!.Format, Is.EqualTo("PPM"));
    }

    [Test]
    public void What_the_writer_writes_the_reader_reads()
    {
        var image = new RgbImage(2, 3, [.. Enumerable.Range(0, 18).Select(i => (byte)(i * 13))]);
        using var stream = new MemoryStream();
        PpmWriter.Write(image, stream);
        RgbImage back = ImageDecoder.Decode(stream.ToArray());
        Assert.That((back.Width, back.Height), Is.EqualTo((2, 3)));
        Assert.That(back.Pixels, Is.EqualTo(image.Pixels));
    }
}
