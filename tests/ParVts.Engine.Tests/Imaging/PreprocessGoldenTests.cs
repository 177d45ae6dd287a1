using System.Runtime.InteropServices;
using System.Text.Json;
using ParVts.Engine.Imaging;
using ParVts.Engine.Imaging.Resampling;

namespace ParVts.Engine.Tests.Imaging;

public class PreprocessGoldenTests
{
    private const string File = "pixel_values.json";

    // The processors that make one picture of a fixed size. Others are skipped, by name.
    private static readonly string[] Supported = ["CLIPImageProcessor", "LlavaImageProcessor", "SiglipImageProcessor"];

    private static IEnumerable<TestCaseData> Cases => Goldens.Elements(File, "cases").Select(e => new TestCaseData(e).SetArgDisplayNames(
        e.GetProperty("processor").GetString()!, e.GetProperty("file").GetString()!, e.GetProperty("given_as").GetString()!));

    private static IEnumerable<TestCaseData> Sizes => Goldens.Elements("sizes.json", "rows").Select(e => new TestCaseData(e).SetArgDisplayNames(
        $"{e.GetProperty("width")}×{e.GetProperty("height")}"));

    [TestCaseSource(nameof(Cases))]
    public void Pixel_values_are_those_of_the_Pillow_classes(JsonElement golden)
    {
        JsonElement config = Config(golden.GetProperty("processor").GetString()!);
        string type = config.GetProperty("image_processor_type").GetString()!;
        if (!Supported.Contains(type))
            Assert.Ignore($"{type} is not supported yet");
        var preprocessor = new ImagePreprocessor(Settings(config));
        // A picture that is passed in keeps its orientation as stored; a path drops transparency.
        ImageDecodeOptions options = golden.GetProperty("given_as").GetString() == "picture"
            ? new ImageDecodeOptions { ApplyOrientation = false }
            : new ImageDecodeOptions { Transparency = Transparency.Drop };
        RgbImage image = ImageDecoder.Decode(Goldens.PictureBytes(golden.GetProperty("file").GetString()!), options);
        float[] values = preprocessor.Process(image);

        (int height, int width) = preprocessor.OutputSize;
        Assert.That((int[])[1, 3, height, width], Is.EqualTo(Goldens.Integers(golden.GetProperty("shape"))));
        float[] expected = MemoryMarshal.Cast<byte, float>(Goldens.Tensor("pixel_values.safetensors", golden.GetProperty("key").GetString()!).Bytes).ToArray();
        int every = golden.TryGetProperty("stored_every", out JsonElement stride) ? stride.GetInt32() : 1;
        float[] stored = [.. values.Where((_, i) => i % every == 0)];
        Assert.That(stored, Is.EqualTo(expected).Within(1e-6f));
        Assert.That(Goldens.Sha256(MemoryMarshal.AsBytes(values.AsSpan())), Is.EqualTo(golden.GetProperty("float32_sha256").GetString()));
    }

    [TestCaseSource(nameof(Sizes))]
    public void The_shortest_edge_rule_is_that_of_transformers(JsonElement golden)
    {
        (int height, int width) = (golden.GetProperty("height").GetInt32(), golden.GetProperty("width").GetInt32());
        (long resizedHeight, long resizedWidth) = ImagePreprocessor.ShortestEdgeSize(height, width, 336);
        Assert.That((long[])[resizedHeight, resizedWidth], Is.EqualTo(Goldens.Integers(golden.GetProperty("shortest_edge_336"))));
    }

    private static JsonElement Config(string processor)
    {
        using JsonDocument document = JsonDocument.Parse(System.IO.File.ReadAllBytes(TestData.Golden("imaging/" + File)));
        return document.RootElement.GetProperty("processors").GetProperty(processor).GetProperty("config").Clone();
    }

    private static ImagePreprocessorSettings Settings(JsonElement config)
    {
        JsonElement size = config.GetProperty("size");
        bool crop = config.TryGetProperty("do_center_crop", out JsonElement cropping) && cropping.GetBoolean();
        return new ImagePreprocessorSettings
        {
            PadToSquare = config.TryGetProperty("do_pad", out JsonElement pad) && pad.GetBoolean(),
            ShortestEdge = Number(size, "shortest_edge"),
            Height = Number(size, "height"),
            Width = Number(size, "width"),
            Resample = (ResampleFilter)config.GetProperty("resample").GetInt32(),
            DoCenterCrop = crop,
            CropHeight = crop ? config.GetProperty("crop_size").GetProperty("height").GetInt32() : 0,
            CropWidth = crop ? config.GetProperty("crop_size").GetProperty("width").GetInt32() : 0,
            RescaleFactor = config.GetProperty("rescale_factor").GetDouble(),
            ImageMean = [.. config.GetProperty("image_mean").EnumerateArray().Select(e => e.GetDouble())],
            ImageStd = [.. config.GetProperty("image_std").EnumerateArray().Select(e => e.GetDouble())],
        };
    }

    private static int? Number(JsonElement parent, string name) => parent.TryGetProperty(name, out JsonElement value) ? value.GetInt32() : null;
}
