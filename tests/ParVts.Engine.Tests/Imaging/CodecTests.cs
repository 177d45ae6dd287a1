using ParVts.Engine.Imaging;

namespace ParVts.Engine.Tests.Imaging;

public class CodecTests
{
    private static readonly CodecLibraries None = new(_ => 0);

    private static readonly CodecSeed[] Seeds = CodecSeed.Decodable;

    [TestCaseSource(nameof(Seeds))]
    public void Pixels_are_those_of_Pillow(CodecSeed seed)
    {
        RgbImage image = ImageDecoder.Decode(seed.Data);
        bool turned = seed.Name.StartsWith("Turned", StringComparison.Ordinal);
        Assert.That((image.Width, image.Height), Is.EqualTo(turned ? (12, 16) : (16, 12)));
        Assert.That(Goldens.Sha256(image.Pixels), Is.EqualTo(seed.Sha256));
    }

    [TestCaseSource(nameof(Seeds))]
    public void The_header_is_read_without_the_library(CodecSeed seed)
    {
        ImageInfo info = ImageDecoder.Identify(seed.Data);
        Assert.That((info.Width, info.Height), Is.EqualTo((16, 12)));
        Assert.That(info.Orientation, Is.EqualTo(seed.Name.StartsWith("Turned", StringComparison.Ordinal) ? 8 : 1));
        Assert.That(seed.Name, Does.EndWith(info.Format).IgnoreCase);
    }

    [TestCaseSource(nameof(Seeds))]
    public void A_file_cut_short_is_refused(CodecSeed seed)
    {
        for (int length = 0; length < seed.Data.Length - 1; length++)
            Assert.That(() => ImageDecoder.Decode(seed.Data.AsSpan(0, length)), Throws.TypeOf<ImageFormatException>(), $"{length} of {seed.Data.Length} bytes");
    }

    [TestCaseSource(nameof(Seeds))]
    public void A_missing_library_is_named_with_its_package(CodecSeed seed)
    {
        (string library, string package) = seed.Name.EndsWith("Jpeg", StringComparison.Ordinal) ? ("libturbojpeg", "libturbojpeg0") : ("libwebp", "libwebp7");
        MissingLibraryException? error = Assert.Throws<MissingLibraryException>(() => ImageDecoder.Decode(seed.Data, new ImageDecodeOptions { Codecs = None }));
        Assert.That(error!.Library, Is.EqualTo(library));
        Assert.That(error.Hint, Does.Contain("apt-get install " + package));
    }

    [Test]
    public void An_animation_is_refused() =>
        Assert.That(() => ImageDecoder.Decode(CodecSeed.AnimatedWebP.Data), Throws.TypeOf<ImageFormatException>().With.Message.Contains("animations"));

    [Test]
    public void The_probe_tells_what_is_there_and_what_is_missing()
    {
        CodecStatus[] found = NativeCodecs.Probe();
        Assert.That(found.Select(c => c.Library), Is.EqualTo((string[])["libturbojpeg", "libwebp"]));
        Assert.That(found.Select(c => c.Found), Is.All.True);
        Assert.That(found.Select(c => c.Version), Is.All.Not.Null);
        Assert.That(NativeCodecs.Probe(None).Select(c => c.Found), Is.All.False);
        Assert.That(NativeCodecs.Probe(None).Select(c => c.Install), Is.All.StartsWith("apt-get install"));
    }

    [Test]
    public void A_JPEG_with_a_stray_byte_between_markers_is_read()
    {
        byte[] data = CodecSeed.BaselineJpeg.Data;
        byte[] stray = [.. data.AsSpan(0, data.Length - 2), 0x12, .. data.AsSpan(data.Length - 2)];
        Assert.That(Goldens.Sha256(ImageDecoder.Decode(stray).Pixels), Is.EqualTo(CodecSeed.BaselineJpeg.Sha256));
    }

    [Test]
    public void A_JPEG_that_claims_more_than_its_bytes_can_hold_allocates_nothing([Values(9_999, 65_535)] int side)
    {
        byte[] data = [.. CodecSeed.BaselineJpeg.Data];
        int frame = data.AsSpan().IndexOf((ReadOnlySpan<byte>)[0xFF, 0xC0]);
        (data[frame + 5], data[frame + 6], data[frame + 7], data[frame + 8]) = ((byte)(side >> 8), (byte)side, (byte)(side >> 8), (byte)side);
        AssertRefusedCheaply(data);
    }

    [Test]
    public void A_JPEG_of_very_many_scans_is_refused_at_once()
    {
        byte[] data = CodecSeed.ProgressiveJpeg.Data;
        int scan = data.AsSpan().LastIndexOf((ReadOnlySpan<byte>)[0xFF, 0xDA]);
        byte[] last = data[scan..^2];
        AssertRefusedCheaply([.. data.AsSpan(0, scan), .. Enumerable.Repeat(last, 1000).SelectMany(s => s), 0xFF, 0xD9]);
    }

    [Test]
    public void A_WebP_that_claims_more_than_the_limit_allocates_nothing()
    {
        byte[] data = [.. CodecSeed.LosslessWebP.Data];
        for (int i = 21; i < 25; i++)
            data[i] = 0xFF;
        AssertRefusedCheaply(data);
    }

    private static void AssertRefusedCheaply(byte[] data)
    {
        long before = GC.GetAllocatedBytesForCurrentThread();
        Assert.That(() => ImageDecoder.Decode(data), Throws.TypeOf<ImageFormatException>());
        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.LessThan(1_000_000));
    }
}
