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
        RgbImage image = name == "-" ? ImageDecoder.Decode(ReadStandardInput()) : ImageDecoder.Load(name);
        return new Picture(name, image, watch.Elapsed);
    }

    private static byte[] ReadStandardInput()
    {
        using Stream input = Console.OpenStandardInput();
        using var bytes = new MemoryStream();
        byte[] block = new byte[65536];
        for (int read; (read = input.Read(block)) > 0;)
        {
            bytes.Write(block, 0, read);
            if (bytes.Length > ImageDecoder.MaxFileBytes)
                throw new UsageException($"standard input holds more than the {ImageDecoder.MaxFileBytes} bytes that a picture may have");
        }

        return bytes.ToArray();
    }
}
