using System.Text.Json;
using ParVts.Engine.Imaging;
using ParVts.Engine.Imaging.Resampling;

namespace ParVts.Engine.Tests.Imaging;

public class ResizeGoldenTests
{
    private static IEnumerable<TestCaseData> Cases =>
        Goldens.Elements("resize.json", "cases").Select(e => new TestCaseData(e).SetArgDisplayNames(e.GetProperty("name").GetString()!));

    [TestCaseSource(nameof(Cases))]
    public void Resized_bytes_are_those_of_Pillow(JsonElement golden)
    {
        RgbImage input = Input(golden.GetProperty("input").GetString()!);
        var filter = Enum.Parse<ResampleFilter>(golden.GetProperty("filter").GetString()!, ignoreCase: true);
        RgbImage result = Resampler.Resize(input, golden.GetProperty("width").GetInt32(), golden.GetProperty("height").GetInt32(), filter);
        Assert.That(Goldens.Sha256(result.Pixels), Is.EqualTo(golden.GetProperty("sha256").GetString()));
    }

    [TestCaseSource(nameof(Cases))]
    public void A_window_is_a_part_of_the_whole(JsonElement golden)
    {
        RgbImage input = Input(golden.GetProperty("input").GetString()!);
        (int width, int height) = (golden.GetProperty("width").GetInt32(), golden.GetProperty("height").GetInt32());
        var window = new PixelWindow(width / 3, height / 4, Math.Max(1, width / 2), Math.Max(1, height / 3));
        RgbImage whole = Resampler.Resize(input, width, height, ResampleFilter.Lanczos);
        RgbImage part = Resampler.Window(new Canvas(input), width, height, window, ResampleFilter.Lanczos);
        for (int y = 0; y < part.Height; y++)
            Assert.That(part.Row(y).ToArray(), Is.EqualTo(whole.Row((int)window.Top + y).Slice((int)window.Left * 3, window.Width * 3).ToArray()), $"row {y}");
    }

    private static RgbImage Input(string name)
    {
        if (name.Contains('.'))
            return ImageDecoder.Decode(Goldens.PictureBytes(name), Goldens.AsStored);
        (byte[] bytes, int[] shape) = Goldens.Tensor("resize.safetensors", "input." + name);
        return new RgbImage(shape[1], shape[0], bytes);
    }
}
