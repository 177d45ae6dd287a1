using System.Text;
using ParVts.Engine.Formats;

namespace ParVts.Runner.Tests;

public sealed class ImageTests
{
    [TestCase("bicubic")]
    [TestCase("bilinear")]
    [TestCase("lanczos")]
    public void PngAndPpmHoldTheSamePicture(string filter)
    {
        string png = Resize(DemoModel.Question("count").Image, "40x30", filter, "small.png");
        string ppm = Resize(DemoModel.Question("count").Image, "40x30", filter, "small.ppm");
        string again = Resize(png, "40x30", filter, "again.ppm");
        byte[] bytes = File.ReadAllBytes(ppm);
        byte[] header = Encoding.ASCII.GetBytes("P6\n40 30\n255\n");
        using (Assert.EnterMultipleScope())
        {
            Assert.That(bytes[..header.Length], Is.EqualTo(header));
            Assert.That(bytes, Has.Length.EqualTo(header.Length + 3 * 40 * 30));
            Assert.That(bytes[header.Length..].Distinct().Count(), Is.GreaterThan(10), "a picture, not a blank");
            Assert.That(File.ReadAllBytes(again), Is.EqualTo(bytes));
        }
    }

    [Test]
    public void FiltersDiffer()
    {
        string image = DemoModel.Question("count").Image;
        byte[][] results = [.. new[] { "bicubic", "bilinear", "lanczos" }.Select(f => File.ReadAllBytes(Resize(image, "50x50", f, f + ".ppm")))];
        Assert.That(results[0], Is.Not.EqualTo(results[1]).And.Not.EqualTo(results[2]));
    }

    [Test]
    public void PixelValuesAreThoseOfARun()
    {
        DemoQuestion question = DemoModel.Question("count");
        string alone = Path.Combine(DemoModel.Scratch, "pixels.safetensors");
        string dumped = Path.Combine(DemoModel.Scratch, "run-pixels.safetensors");
        Succeed("image", "--preprocessor", DemoModel.Model, "--image", question.Image, "--out", alone);
        Succeed(
            "dump", "--model", DemoModel.Model, "--image", question.Image, "--prompt", question.Text,
            "--max-tokens", "1", "--stages", "pixel_values", "--out", dumped);
        using SafetensorsFile first = SafetensorsFile.Open(alone);
        using SafetensorsFile second = SafetensorsFile.Open(dumped);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(first.Tensors["pixel_values"].Shape, Is.EqualTo(second.Tensors["pixel_values"].Shape));
            Assert.That(
                first.Tensors["pixel_values"].ToFloats().SequenceEqual(second.Tensors["pixel_values"].ToFloats()), Is.True, "the same pixels");
        }
    }

    private static string Resize(string image, string size, string filter, string name)
    {
        string path = Path.Combine(DemoModel.Scratch, name);
        Succeed("image", "--image", image, "--resize", size, "--filter", filter, "--out", path);
        return path;
    }

    private static void Succeed(params string[] arguments)
    {
        Outcome outcome = Parvts.Run(arguments);
        Assert.That(outcome.Code, Is.Zero, outcome.Errors);
    }
}
