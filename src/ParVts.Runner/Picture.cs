using System.Diagnostics;
using ParVts.Engine.Imaging;

namespace ParVts.Runner;

/// <summary>A decoded picture, where it came from and how long decoding took.</summary>
internal sealed record Picture(string Name, RgbImage Image, TimeSpan DecodeTime)
{
    /// <summary>Reads and decodes a file, or standard input where the name is "-".</summary>
    public static Picture Load(string name)
    {
        var watch = Stopwatch.StartNew();
        RgbImage image = name == "-" ? LoadStandardInput() : ImageDecoder.Load(name);
        return new Picture(name, image, watch.Elapsed);
    }

    private static RgbImage LoadStandardInput()
    {
        using Stream input = Console.OpenStandardInput();
        return ImageDecoder.Load(input);
    }
}
