namespace ParVts.Engine.Imaging;

/// <summary>
/// A picture: red, green, blue, eight bits each, rows from the top, no padding. The holder of the object owns the bytes;
/// reading is safe from any thread as long as nobody writes.
/// </summary>
public sealed class RgbImage
{
    /// <summary>Makes a black picture.</summary>
    /// <exception cref="ArgumentOutOfRangeException">A side is below 1, or the picture would be larger than an array can be.</exception>
    public RgbImage(int width, int height)
        : this(width, height, new byte[ByteCount(width, height)])
    {
    }

    /// <summary>Wraps <paramref name="pixels"/> without copying.</summary>
    /// <exception cref="ArgumentOutOfRangeException">A side is below 1, or the picture would be larger than an array can be.</exception>
    /// <exception cref="ArgumentException">The array's length is not width × height × 3.</exception>
    public RgbImage(int width, int height, byte[] pixels)
    {
        ArgumentNullException.ThrowIfNull(pixels);
        int expected = ByteCount(width, height);
        if (pixels.Length != expected)
            throw new ArgumentException($"{width} × {height} RGB pixels are {expected} bytes, not {pixels.Length}.", nameof(pixels));
        Width = width;
        Height = height;
        Pixels = pixels;
    }

    /// <summary>Pixels in a row.</summary>
    public int Width { get; }

    /// <summary>Rows.</summary>
    public int Height { get; }

    /// <summary>Width × height × 3 bytes: RGBRGB…, rows from the top.</summary>
    public byte[] Pixels { get; }

    /// <summary>The bytes of row <paramref name="y"/>.</summary>
    internal Span<byte> Row(int y) => Pixels.AsSpan(y * Width * 3, Width * 3);

    private static int ByteCount(int width, int height)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(width, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(height, 1);
        // int × int × 3 stays below 2^64 but not below 2^63, hence unsigned.
        ulong bytes = (ulong)width * (ulong)height * 3;
        if (bytes > (ulong)Array.MaxLength)
            throw new ArgumentOutOfRangeException(nameof(width), $"{width} × {height} pixels are more than one array can hold.");
        return (int)bytes;
    }
}
