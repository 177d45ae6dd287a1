using System.Text;

namespace ParVts.Engine.Imaging.Ppm;

/// <summary>Writes pictures as binary PPM (P6). Any thread.</summary>
public static class PpmWriter
{
    /// <summary>Writes a file.</summary>
    /// <exception cref="IOException">The file cannot be written.</exception>
    public static void Save(RgbImage image, string path)
    {
        using FileStream file = File.Create(path);
        Write(image, file);
    }

    /// <summary>Writes to a stream, which stays open.</summary>
    public static void Write(RgbImage image, Stream stream)
    {
        ArgumentNullException.ThrowIfNull(image);
        ArgumentNullException.ThrowIfNull(stream);
        stream.Write(Encoding.ASCII.GetBytes($"P6\n{image.Width} {image.Height}\n255\n"));
        stream.Write(image.Pixels);
    }
}
