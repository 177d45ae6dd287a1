using ParVts.Engine.Imaging.Resampling;

namespace ParVts.Engine.Imaging;

/// <summary>How a picture's shape is brought to the model's.</summary>
public enum ImageAspect
{
    /// <summary>As the model's preprocessor says.</summary>
    Model = 0,

    /// <summary>Padded to a square in the mean colour first, as LLaVA was trained; nothing is lost.</summary>
    Pad = 1,

    /// <summary>The shortest edge is brought to the model's size and the middle cut out.</summary>
    Crop = 2,

    /// <summary>Both sides are brought to the model's size, whatever becomes of the shape.</summary>
    Stretch = 3,
}

/// <summary>
/// The preprocessor's settings, with the names and defaults of transformers' CLIPImageProcessor. Its steps, in order:
/// pad, resize, cut the middle, rescale, normalise.
/// </summary>
public sealed record ImagePreprocessorSettings
{
    /// <summary>Pad to a square in the mean colour (LlavaImageProcessor's do_pad).</summary>
    public bool PadToSquare { get; init; }

    /// <summary>Change the size at all.</summary>
    public bool DoResize { get; init; } = true;

    /// <summary>The shorter side after resizing; null where <see cref="Height"/> and <see cref="Width"/> say it.</summary>
    public int? ShortestEdge { get; init; }

    /// <summary>The height after resizing, whatever becomes of the shape.</summary>
    public int? Height { get; init; }

    /// <summary>The width after resizing, whatever becomes of the shape.</summary>
    public int? Width { get; init; }

    /// <summary>The filter for resizing.</summary>
    public ResampleFilter Resample { get; init; } = ResampleFilter.Bicubic;

    /// <summary>Cut the middle out; where the picture is smaller than that, black goes round it.</summary>
    public bool DoCenterCrop { get; init; } = true;

    /// <summary>The height that is cut out.</summary>
    public int CropHeight { get; init; } = 224;

    /// <summary>The width that is cut out.</summary>
    public int CropWidth { get; init; } = 224;

    /// <summary>Multiply by <see cref="RescaleFactor"/>.</summary>
    public bool DoRescale { get; init; } = true;

    /// <summary>What 8-bit values are multiplied by.</summary>
    public double RescaleFactor { get; init; } = 1.0 / 255;

    /// <summary>Subtract the mean and divide by the deviation.</summary>
    public bool DoNormalize { get; init; } = true;

    /// <summary>The mean of red, green, blue.</summary>
    public IReadOnlyList<double> ImageMean { get; init; } = [0.48145466, 0.4578275, 0.40821073];

    /// <summary>The standard deviation of red, green, blue.</summary>
    public IReadOnlyList<double> ImageStd { get; init; } = [0.26862954, 0.26130258, 0.27577711];
}
