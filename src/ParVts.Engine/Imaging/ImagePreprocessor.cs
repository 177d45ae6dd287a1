using ParVts.Engine.Imaging.Resampling;

namespace ParVts.Engine.Imaging;

/// <summary>
/// Turns pictures into a vision tower's input: float32, [3, height, width], red plane first; bit for bit what
/// transformers' Pillow classes make of the same pixels. Immutable, any thread.
/// </summary>
public sealed class ImagePreprocessor
{
    private const int Channels = 3;
    private const int MaxSide = 1 << 14;
    private const string File = "preprocessor_config.json";

    private readonly ImagePreprocessorSettings _settings;

    // The value of each byte in each channel, rescaled and normalised.
    private readonly float[] _values;

    /// <summary>Checks the settings.</summary>
    /// <exception cref="ModelFormatException">The settings are out of range, or make pictures of differing sizes.</exception>
    public ImagePreprocessor(ImagePreprocessorSettings settings)
    {
        ArgumentNullException.ThrowIfNull(settings);
        _settings = settings;
        (int? height, int? width) = settings.DoCenterCrop ? (settings.CropHeight, settings.CropWidth) : (settings.Height, settings.Width);
        if (height is null || width is null || (!settings.DoCenterCrop && !settings.DoResize))
            throw Wrong("size", "gives no height and width, and nothing is cut to one size: the vision tower needs one.");
        OutputSize = (InRange("height", height.Value), InRange("width", width.Value));
        if (settings.DoResize && settings.ShortestEdge is null)
            _ = (InRange("size.height", settings.Height ?? 0), InRange("size.width", settings.Width ?? 0));
        else if (settings.ShortestEdge is { } edge)
            InRange("size.shortest_edge", edge);
        if (settings.Resample is < ResampleFilter.Nearest or > ResampleFilter.Hamming)
            throw Wrong("resample", $"{(int)settings.Resample} is no filter; 0 to 5 are.");
        _values = MakeValues(settings);
    }

    /// <summary>The size of what <see cref="Process(RgbImage, Span{float}, ImageAspect)"/> makes, the same for all pictures.</summary>
    public (int Height, int Width) OutputSize { get; }

    /// <summary>The number of floats that one picture becomes: 3 × height × width.</summary>
    public int OutputLength => Channels * OutputSize.Height * OutputSize.Width;

    /// <summary>Prepares a picture into a new array of [3, height, width].</summary>
    public float[] Process(RgbImage image, ImageAspect aspect = ImageAspect.Model)
    {
        float[] output = new float[OutputLength];
        Process(image, output, aspect);
        return output;
    }

    /// <summary>Prepares a picture into <paramref name="output"/>: [3, height, width], <see cref="OutputLength"/> floats.</summary>
    /// <exception cref="ArgumentException">The output has another length.</exception>
    public void Process(RgbImage image, Span<float> output, ImageAspect aspect = ImageAspect.Model)
    {
        ArgumentNullException.ThrowIfNull(image);
        if (output.Length != OutputLength)
            throw new ArgumentException($"The output has {output.Length} floats, not {OutputLength}.", nameof(output));
        Plan plan = MakePlan(image, aspect);
        if (plan.Window is { Width: > 0, Height: > 0 })
        {
            RgbImage cut = Resampler.Window(plan.Canvas, plan.Width, plan.Height, plan.Window, _settings.Resample);
            if (cut.Width != OutputSize.Width || cut.Height != OutputSize.Height)
                FillBlack(output);
            Spread(cut, plan.Top, plan.Left, output);
        }
    }

    /// <summary>The picture that a prepared one stands for: what the vision tower sees, as bytes again.</summary>
    /// <exception cref="ArgumentException">The input is not <see cref="OutputLength"/> floats.</exception>
    public RgbImage ToImage(ReadOnlySpan<float> pixels)
    {
        if (pixels.Length != OutputLength)
            throw new ArgumentException($"The input has {pixels.Length} floats, not {OutputLength}.", nameof(pixels));
        var image = new RgbImage(OutputSize.Width, OutputSize.Height);
        int plane = pixels.Length / Channels;
        for (int i = 0; i < pixels.Length; i++)
        {
            int channel = i / plane;
            float black = _values[channel * 256], white = _values[channel * 256 + 255];
            float level = MathF.Round((pixels[i] - black) / (white - black) * 255);
            image.Pixels[i % plane * Channels + channel] = (byte)Math.Clamp(level, 0, 255);
        }

        return image;
    }

    /// <summary>CLIP's size for a picture whose shorter side is to become <paramref name="edge"/>: the longer one is rounded down.</summary>
    internal static (long Height, long Width) ShortestEdgeSize(int height, int width, int edge)
    {
        // Python divides the exact product; doubles hold it exactly, and so does the division then round alike.
        long longer = (long)((double)((long)edge * Math.Max(height, width)) / Math.Min(height, width));
        return height <= width ? (edge, longer) : (longer, edge);
    }

    private Plan MakePlan(RgbImage image, ImageAspect aspect)
    {
        bool pad = aspect == ImageAspect.Pad || (aspect == ImageAspect.Model && _settings.PadToSquare);
        Canvas canvas = pad && image.Width != image.Height ? Canvas.Square(image, MeanColour()) : new Canvas(image);
        (long height, long width) = ResizedSize(canvas, aspect);
        bool crop = aspect is ImageAspect.Crop || _settings.DoCenterCrop;
        (int cropHeight, int cropWidth) = crop ? OutputSize : ((int)height, (int)width);
        (long top, int windowHeight, int marginTop) = Middle(height, cropHeight);
        (long left, int windowWidth, int marginLeft) = Middle(width, cropWidth);
        return new Plan(canvas, height, width, new PixelWindow(left, top, windowWidth, windowHeight), marginTop, marginLeft);
    }

    private (long Height, long Width) ResizedSize(Canvas canvas, ImageAspect aspect)
    {
        (int height, int width) = OutputSize;
        return aspect switch
        {
            ImageAspect.Stretch => (height, width),
            ImageAspect.Crop => ShortestEdgeSize(canvas.Height, canvas.Width, Math.Max(height, width)),
            ImageAspect.Model or ImageAspect.Pad when !_settings.DoResize => (canvas.Height, canvas.Width),
            ImageAspect.Model or ImageAspect.Pad when _settings.ShortestEdge is { } edge => ShortestEdgeSize(canvas.Height, canvas.Width, edge),
            ImageAspect.Model or ImageAspect.Pad => (_settings.Height!.Value, _settings.Width!.Value),
            _ => throw new ArgumentOutOfRangeException(nameof(aspect), aspect, "is no aspect."),
        };
    }

    /// <summary>
    /// Where the middle <paramref name="wanted"/> of <paramref name="size"/> begins, how much of it there is, and how much black stands
    /// before it: transformers' center_crop, which rounds down when it cuts and up when it pads.
    /// </summary>
    private static (long Start, int Count, int Margin) Middle(long size, int wanted) =>
        size >= wanted ? ((size - wanted) / 2, wanted, 0) : (0, (int)size, (int)((wanted - size + 1) / 2));

    private (byte Red, byte Green, byte Blue) MeanColour()
    {
        IReadOnlyList<double> mean = _settings.ImageMean;
        return ((byte)(mean[0] * 255), (byte)(mean[1] * 255), (byte)(mean[2] * 255));
    }

    private void FillBlack(Span<float> output)
    {
        int plane = output.Length / Channels;
        for (int c = 0; c < Channels; c++)
            output.Slice(c * plane, plane).Fill(_values[c * 256]);
    }

    private void Spread(RgbImage cut, int top, int left, Span<float> output)
    {
        (int height, int width) = OutputSize;
        for (int c = 0; c < Channels; c++)
        {
            ReadOnlySpan<float> values = _values.AsSpan(c * 256, 256);
            for (int y = 0; y < cut.Height; y++)
            {
                ReadOnlySpan<byte> row = cut.Row(y);
                Span<float> target = output.Slice((c * height + top + y) * width + left, cut.Width);
                for (int x = 0, from = c; x < target.Length; x++, from += Channels)
                    target[x] = values[row[from]];
            }
        }
    }

    /// <summary>numpy's arithmetic: the product in double, rounded to float32, then float32 throughout.</summary>
    private static float[] MakeValues(ImagePreprocessorSettings settings)
    {
        if (settings.DoNormalize && (settings.ImageMean.Count != Channels || settings.ImageStd.Count != Channels))
            throw Wrong("image_mean", "and image_std must have three numbers each.");
        if (settings.PadToSquare && settings.ImageMean.Count != Channels)
            throw Wrong("image_mean", "must have three numbers.");
        float[] values = new float[Channels * 256];
        for (int i = 0; i < values.Length; i++)
        {
            int channel = i / 256, level = i % 256;
            float value = settings.DoRescale ? (float)(level * settings.RescaleFactor) : level;
            if (settings.DoNormalize)
                value = (value - (float)settings.ImageMean[channel]) / (float)settings.ImageStd[channel];
            if (!float.IsFinite(value))
                throw Wrong("image_std", "with image_mean and rescale_factor gives numbers that are not finite.");
            values[i] = value;
        }

        return values;
    }

    private static int InRange(string property, int value) =>
        value is >= 1 and <= MaxSide ? value : throw Wrong(property, $"is {value}; 1 to {MaxSide} are possible.");

    private static ModelFormatException Wrong(string property, string message) => new(File, property, message);

    /// <summary>The canvas resized to width × height, of which the window is kept, at (Left, Top) of the output.</summary>
    private sealed record Plan(Canvas Canvas, long Height, long Width, PixelWindow Window, int Top, int Left);
}
