namespace ParVts.Engine.Imaging;

/// <summary>What becomes of a picture's transparency.</summary>
public enum Transparency
{
    /// <summary>The picture is laid over white, with the arithmetic of Pillow's <c>alpha_composite</c>.</summary>
    OverWhite = 0,

    /// <summary>Alpha is dropped and the colours stay as stored, as Pillow's <c>convert("RGB")</c> does.</summary>
    Drop = 1,
}

/// <summary>
/// What the decoder accepts. The limits are compared with the picture's header before anything is decoded or allocated.
/// Decoding needs at most about 8 bytes of memory a pixel (progressive JPEG; 3 to 4 for the others) beside the file.
/// </summary>
public sealed record ImageLimits
{
    /// <summary>The limits that count where none are given.</summary>
    public static ImageLimits Default { get; } = new();

    /// <summary>
    /// Pixels of a picture. 100 million are 300 MB once decoded: all but the very largest cameras, between Pillow's
    /// warning (89 million) and its refusal (179 million).
    /// </summary>
    public long MaxPixels { get; init; } = 100_000_000;

    /// <summary>Pixels of one side. A million is libpng's own limit; it bounds the cost of pictures one pixel thin.</summary>
    public int MaxSide { get; init; } = 1_000_000;

    /// <summary>Bytes of the encoded picture: room for every picture of 100 million pixels at five bytes each.</summary>
    public long MaxBytes { get; init; } = 512L << 20;

    /// <summary>Refuses a size that a header claims.</summary>
    internal void CheckSize(string format, long width, long height)
    {
        if (width < 1 || height < 1)
            throw new ImageFormatException(format, $"the header claims {width} × {height} pixels; both must be at least 1.");
        if (width > MaxSide || height > MaxSide)
            throw new ImageFormatException(format, $"{width} × {height} pixels: a side is longer than the limit of {MaxSide}. Make the picture smaller.");
        // Four bytes a pixel are the most that a decoder of ours keeps in one array.
        long most = Math.Min(MaxPixels, Array.MaxLength / 4);
        if (width * height > most)
            throw new ImageFormatException(format, $"{width} × {height} pixels are more than the limit of {most}. Make the picture smaller.");
    }

    internal void CheckBytes(long bytes)
    {
        if (bytes > MaxBytes)
            throw new ImageFormatException("image", $"the file has {bytes} bytes, more than the limit of {MaxBytes}.");
    }
}

/// <summary>How pictures are decoded.</summary>
public sealed record ImageDecodeOptions
{
    /// <summary>The options that count where none are given.</summary>
    public static ImageDecodeOptions Default { get; } = new();

    /// <summary>The limits on what is accepted.</summary>
    public ImageLimits Limits { get; init; } = ImageLimits.Default;

    /// <summary>Turn and mirror the picture as its EXIF orientation says.</summary>
    public bool ApplyOrientation { get; init; } = true;

    /// <summary>What becomes of transparency.</summary>
    public Transparency Transparency { get; init; } = Transparency.OverWhite;

    /// <summary>Where the native codecs come from; tests put a loader here that finds nothing.</summary>
    internal CodecLibraries Codecs { get; init; } = CodecLibraries.System;
}

/// <summary>What a picture's header says, before its limits are checked.</summary>
/// <param name="Format">PNG, JPEG, WebP, BMP or PPM (which stands for PBM, PGM and PPM).</param>
/// <param name="Width">Pixels in a row, as stored.</param>
/// <param name="Height">Rows, as stored.</param>
/// <param name="Orientation">The EXIF orientation, 1 to 8; 1 is upright and stands for none. From 5 on, width and height trade places.</param>
public sealed record ImageInfo(string Format, int Width, int Height, int Orientation);
