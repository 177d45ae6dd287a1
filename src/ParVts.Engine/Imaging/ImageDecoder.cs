using ParVts.Engine.Imaging.Bmp;
using ParVts.Engine.Imaging.Jpeg;
using ParVts.Engine.Imaging.Png;
using ParVts.Engine.Imaging.Ppm;
using ParVts.Engine.Imaging.WebP;

namespace ParVts.Engine.Imaging;

/// <summary>
/// Turns the bytes of a picture into RGB pixels. The format is told by the first bytes, never by a name. PNG, BMP and
/// PPM (PBM, PGM) are read in managed code, JPEG and WebP by the system's libturbojpeg and libwebp. Any thread.
/// </summary>
public static class ImageDecoder
{
    private const int ReadBlock = 1 << 16;

    /// <summary>Decodes a picture in memory.</summary>
    /// <exception cref="ImageFormatException">The data is no picture of a known format, is damaged or cut short, or is beyond the limits.</exception>
    /// <exception cref="MissingLibraryException">The format needs a native library that is not installed.</exception>
    public static RgbImage Decode(ReadOnlySpan<byte> data, ImageDecodeOptions? options = null)
    {
        options ??= ImageDecodeOptions.Default;
        options.Limits.CheckBytes(data.Length);
        (RgbImage image, int orientation) = FormatOf(data) switch
        {
            PngReader.Format => PngReader.Decode(data, options),
            JpegReader.Format => JpegReader.Decode(data, options),
            WebPReader.Format => WebPReader.Decode(data, options),
            BmpReader.Format => BmpReader.Decode(data, options),
            _ => PpmReader.Decode(data, options),
        };
        return options.ApplyOrientation ? Orientation.Apply(image, orientation) : image;
    }

    /// <summary>Reads and decodes a file.</summary>
    /// <exception cref="ImageFormatException">As <see cref="Decode"/>; also where the file is missing or cannot be read.</exception>
    /// <exception cref="MissingLibraryException">The format needs a native library that is not installed.</exception>
    public static RgbImage Load(string path, ImageDecodeOptions? options = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        try
        {
            using FileStream file = File.OpenRead(path);
            return Load(file, options);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or NotSupportedException or ArgumentException)
        {
            throw new ImageFormatException("image", $"'{path}' cannot be read: {e.Message}", e);
        }
    }

    /// <summary>Reads a stream to its end, at most the limit's bytes, and decodes it. The stream stays open.</summary>
    /// <exception cref="ImageFormatException">As <see cref="Decode"/>.</exception>
    /// <exception cref="MissingLibraryException">The format needs a native library that is not installed.</exception>
    public static RgbImage Load(Stream stream, ImageDecodeOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(stream);
        options ??= ImageDecodeOptions.Default;
        return Decode(ReadAll(stream, options.Limits), options);
    }

    /// <summary>Reads the header only: nothing is decoded, no native library is needed, no limit is applied.</summary>
    /// <exception cref="ImageFormatException">The data is no picture of a known format, or its header is damaged.</exception>
    public static ImageInfo Identify(ReadOnlySpan<byte> data) => FormatOf(data) switch
    {
        PngReader.Format => PngReader.Identify(data),
        JpegReader.Format => JpegReader.Identify(data),
        WebPReader.Format => WebPReader.Identify(data),
        BmpReader.Format => BmpReader.Identify(data),
        _ => PpmReader.Identify(data),
    };

    private static string FormatOf(ReadOnlySpan<byte> data)
    {
        if (PngReader.Recognises(data))
            return PngReader.Format;
        if (JpegReader.Recognises(data))
            return JpegReader.Format;
        if (WebPReader.Recognises(data))
            return WebPReader.Format;
        if (BmpReader.Recognises(data))
            return BmpReader.Format;
        if (PpmReader.Recognises(data))
            return PpmReader.Format;
        throw new ImageFormatException("image", Unknown(data) + " PNG, JPEG, WebP, BMP and PPM (PGM, PBM) are read.");
    }

    private static string Unknown(ReadOnlySpan<byte> data)
    {
        if (data.IsEmpty)
            return "the file is empty.";
        if (data.StartsWith("GIF8"u8))
            return "GIF is not supported.";
        if (data.StartsWith("II*\0"u8) || data.StartsWith("MM\0*"u8))
            return "TIFF is not supported.";
        if (data.Length >= 12 && data[4..].StartsWith("ftyp"u8))
            return "AVIF and HEIC are not supported.";
        return "the first bytes are those of no known picture format.";
    }

    private static byte[] ReadAll(Stream stream, ImageLimits limits)
    {
        if (stream.CanSeek)
            limits.CheckBytes(stream.Length - stream.Position);
        // Devices and pipes have no length, so the limit is checked again while reading.
        using var memory = new MemoryStream();
        byte[] block = new byte[ReadBlock];
        for (int read; (read = stream.Read(block)) > 0;)
        {
            limits.CheckBytes(memory.Length + read);
            memory.Write(block, 0, read);
        }

        return memory.ToArray();
    }
}
