namespace ParVts.Engine.Imaging.Resampling;

/// <summary>The filters of <see cref="Resampler"/>, with Pillow's numbers, which preprocessor configs use.</summary>
public enum ResampleFilter
{
    /// <summary>The nearest pixel, no antialiasing.</summary>
    Nearest = 0,

    /// <summary>Lanczos with three lobes.</summary>
    Lanczos = 1,

    /// <summary>A triangle.</summary>
    Bilinear = 2,

    /// <summary>Cubic convolution, a = −½.</summary>
    Bicubic = 3,

    /// <summary>The mean of the pixels covered.</summary>
    Box = 4,

    /// <summary>Sharper than bilinear at the same cost.</summary>
    Hamming = 5,
}
