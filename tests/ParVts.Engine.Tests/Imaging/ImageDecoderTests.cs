using ParVts.Engine.Imaging;

namespace ParVts.Engine.Tests.Imaging;

public class ImageDecoderTests
{
    [TestCase("", "empty")]
    [TestCase("GIF89a.....", "GIF")]
    [TestCase("hello, world", "no known picture")]
    [TestCase("\0\0\0\u0018ftypavif", "AVIF")]
    public void What_is_no_picture_is_refused_and_named(string data, string message) =>
        Assert.That(() => ImageDecoder.Decode(System.Text.Encoding.Latin1.GetBytes(data)),
            Throws.TypeOf<ImageFormatException>().With.Message.Contains(message).And.Message.Contains("WebP"));

    [Test]
    public void A_missing_file_is_named() =>
        Assert.That(() => ImageDecoder.Load("/no/such/picture.png"), Throws.TypeOf<ImageFormatException>().With.Message.Contains("/no/such/picture.png"));

    [Test]
    public void A_folder_is_named() =>
        Assert.That(() => ImageDecoder.Load(Path.GetTempPath()), Throws.TypeOf<ImageFormatException>().With.Message.Contains(Path.GetTempPath()));

    [Test]
    public void A_file_is_known_by_its_bytes_not_by_its_name()
    {
        string path = Path.GetTempFileName();
        try
        {
            File.WriteAllBytes(path, new BmpMaker(1, 1, 24).File([3, 2, 1, 0]));
            Assert.That(ImageDecoder.Load(path).Pixels, Is.EqualTo((byte[])[1, 2, 3]));
        }
        finally
        {
            File.Delete(path);
        }
    }

    [Test]
    public void More_bytes_than_the_limit_are_refused_even_from_a_stream_without_a_length()
    {
        var options = new ImageDecodeOptions { Limits = new ImageLimits { MaxBytes = 1000 } };
        using var endless = new Endless();
        Assert.That(() => ImageDecoder.Load(endless, options), Throws.TypeOf<ImageFormatException>().With.Message.Contains("1000"));
        Assert.That(() => ImageDecoder.Decode(new byte[1001], options), Throws.TypeOf<ImageFormatException>().With.Message.Contains("1000"));
    }

    [Test]
    public void The_limit_of_pixels_is_the_callers()
    {
        byte[] file = new BmpMaker(4, 3, 24).File(new byte[36]);
        Assert.That(ImageDecoder.Decode(file, new ImageDecodeOptions { Limits = new ImageLimits { MaxPixels = 12 } }).Width, Is.EqualTo(4));
        Assert.That(() => ImageDecoder.Decode(file, new ImageDecodeOptions { Limits = new ImageLimits { MaxPixels = 11 } }), Throws.TypeOf<ImageFormatException>());
        Assert.That(() => ImageDecoder.Decode(file, new ImageDecodeOptions { Limits = new ImageLimits { MaxSide = 3 } }), Throws.TypeOf<ImageFormatException>());
    }

    // What is seen where a picture of letters, "abc" over "def", is stored so that the orientation brings it upright.
    [TestCase(1, "abc,def", "abc,def")]
    [TestCase(2, "cba,fed", "abc,def")]
    [TestCase(3, "fed,cba", "abc,def")]
    [TestCase(4, "def,abc", "abc,def")]
    [TestCase(5, "ad,be,cf", "abc,def")]
    [TestCase(6, "cf,be,ad", "abc,def")]
    [TestCase(7, "fc,eb,da", "abc,def")]
    [TestCase(8, "da,eb,fc", "abc,def")]
    [TestCase(9, "abc,def", "abc,def")]
    public void Orientations_are_undone(int orientation, string stored, string seen)
    {
        foreach (bool little in (bool[])[true, false])
        {
            RgbImage image = ImageDecoder.Decode(Letters(stored, Exif((ushort)orientation, little)));
            Assert.That(Text(image), Is.EqualTo(seen));
        }
    }

    [TestCase("")]
    [TestCase("II*\0")]
    [TestCase("II*\0\u00FF\u00FF\u00FF\u00FF")]
    [TestCase("II*\0\u0008\0\0\0")]
    [TestCase("II*\0\u0008\0\0\0\u00FF\u00FF")]
    [TestCase("II*\0\u0008\0\0\0\u0001\0\u0012\u0001\u0003\0\u0001\0\0\0\u0063\0\0\0")]
    public void Damaged_metadata_is_passed_over(string exif) =>
        Assert.That(Text(ImageDecoder.Decode(Letters("abc,def", System.Text.Encoding.Latin1.GetBytes(exif)))), Is.EqualTo("abc,def"));

    private static byte[] Letters(string rows, byte[] exif)
    {
        string[] lines = rows.Split(',');
        var maker = new PngMaker(lines[0].Length, lines.Length, 0, 8, false) { Extra = [("eXIf", exif)] };
        return maker.Encode([.. lines.Select(line => line.Select(c => new int[] { c }).ToArray())]);
    }

    private static string Text(RgbImage image) => string.Join(',', image.Pixels.Chunk(3 * image.Width).Select(
        row => new string([.. row.Where((_, i) => i % 3 == 0).Select(b => (char)b)])));

    private static byte[] Exif(ushort orientation, bool little)
    {
        byte[] Two(int value) => little ? [(byte)value, (byte)(value >> 8)] : [(byte)(value >> 8), (byte)value];
        byte[] Four(int value) => little ? [.. Two(value), 0, 0] : [0, 0, .. Two(value)];
        return [.. little ? "II"u8 : "MM"u8, .. Two(42), .. Four(8), .. Two(2),
            .. Two(0x0100), .. Two(3), .. Four(1), .. Two(7), 0, 0, .. Two(0x0112), .. Two(3), .. Four(1), .. Two(orientation), 0, 0];
    }

    private sealed class Endless : Stream
    {
        public override bool CanRead => true;

        public override bool CanSeek => false;

        public override bool CanWrite => false;

        public override long Length => throw new NotSupportedException();

        public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

        public override int Read(byte[] buffer, int offset, int count) => count;

        public override void Flush() => throw new NotSupportedException();

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();

        public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
    }
}
