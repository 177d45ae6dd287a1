using System.Text.Json;
using ParVts.Engine.Imaging;

namespace ParVts.Engine.Tests.Imaging;

public class DecodeGoldenTests
{
    private static readonly ImageDecodeOptions Upright = new() { Transparency = Transparency.Drop };
    private static readonly ImageDecodeOptions OverWhite = new() { ApplyOrientation = false };

    private static IEnumerable<TestCaseData> Files =>
        Goldens.Elements("decode.json", "files").Select(e => new TestCaseData(e).SetArgDisplayNames(e.GetProperty("file").GetString()!));

    [TestCaseSource(nameof(Files))]
    public void Pixels_are_those_of_Pillow(JsonElement golden)
    {
        byte[] data = Goldens.PictureBytes(golden.GetProperty("file").GetString()!);
        Check(golden, "rgb_sha256", ImageDecoder.Decode(data, Goldens.AsStored));
        Check(golden, "upright_rgb_sha256", ImageDecoder.Decode(data, Upright));
        Check(golden, "over_white_sha256", ImageDecoder.Decode(data, OverWhite));
    }

    [TestCaseSource(nameof(Files))]
    public void The_header_alone_gives_format_size_and_orientation(JsonElement golden)
    {
        ImageInfo info = ImageDecoder.Identify(Goldens.PictureBytes(golden.GetProperty("file").GetString()!));
        var expected = new ImageInfo(
            golden.GetProperty("format").GetString()!, golden.GetProperty("width").GetInt32(), golden.GetProperty("height").GetInt32(),
            golden.GetProperty("exif_orientation").GetInt32());
        Assert.That(info, Is.EqualTo(expected));
    }

    private static void Check(JsonElement golden, string hash, RgbImage image)
    {
        if (hash.StartsWith("upright", StringComparison.Ordinal))
            Assert.That((int[])[image.Height, image.Width, 3], Is.EqualTo(Goldens.Integers(golden.GetProperty("upright_shape"))));
        Assert.That(Goldens.Sha256(image.Pixels), Is.EqualTo(golden.GetProperty(hash).GetString()), hash);
    }
}
