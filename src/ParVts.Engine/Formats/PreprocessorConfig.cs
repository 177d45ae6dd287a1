namespace ParVts.Engine.Formats;

/// <summary>The resampling filters, by the numbers that Pillow gives them and configs use.</summary>
public enum ResampleFilter
{
    /// <summary>The nearest pixel.</summary>
    Nearest = 0,

    /// <summary>Lanczos, three lobes.</summary>
    Lanczos = 1,

    /// <summary>Bilinear.</summary>
    Bilinear = 2,

    /// <summary>Bicubic, a = −½.</summary>
    Bicubic = 3,
}

/// <summary>
/// How pictures are prepared for a model: preprocessor_config.json, or "image_processor" in processor_config.json, with
/// the defaults of CLIPImageProcessor filled in. The steps are done in the order of the properties.
/// </summary>
public sealed record PreprocessorConfig
{
    /// <summary>The file's name in a model folder.</summary>
    public const string FileName = "preprocessor_config.json";

    private const int MaxSide = 1 << 15;
    private const int DefaultSide = 224;

    // Edges of whole-picture budgets (min_pixels, max_pixels) are pixel counts, so they may be large.
    private const int MaxEdge = 1 << 30;

    /// <summary>"image_processor_type" as written, or null.</summary>
    public string? ImageProcessorType { get; init; }

    /// <summary>Turn every picture into RGB.</summary>
    public bool DoConvertRgb { get; init; }

    /// <summary>Change the picture's size: to <see cref="ShortestEdge"/> with its shape kept, or to <see cref="Height"/> × <see cref="Width"/>.</summary>
    public bool DoResize { get; init; }

    /// <summary>The length of the shorter side after resizing, or null where height and width are given.</summary>
    public int? ShortestEdge { get; init; }

    /// <summary>"longest_edge" beside the shortest one (a pixel budget in some families), or null.</summary>
    public int? LongestEdge { get; init; }

    /// <summary>The height after resizing, or null where the shortest edge is given.</summary>
    public int? Height { get; init; }

    /// <summary>The width after resizing, or null where the shortest edge is given.</summary>
    public int? Width { get; init; }

    /// <summary>The filter for resizing.</summary>
    public ResampleFilter Resample { get; init; }

    /// <summary>Cut the middle out.</summary>
    public bool DoCenterCrop { get; init; }

    /// <summary>The height of the middle.</summary>
    public int CropHeight { get; init; }

    /// <summary>The width of the middle.</summary>
    public int CropWidth { get; init; }

    /// <summary>Multiply the values 0…255 by <see cref="RescaleFactor"/>.</summary>
    public bool DoRescale { get; init; }

    /// <summary>Usually 1/255.</summary>
    public double RescaleFactor { get; init; }

    /// <summary>Subtract <see cref="ImageMean"/>, divide by <see cref="ImageStd"/>.</summary>
    public bool DoNormalize { get; init; }

    /// <summary>Three numbers: red, green, blue.</summary>
    public double[] ImageMean { get; init; } = [];

    /// <summary>Three numbers greater than 0: red, green, blue.</summary>
    public double[] ImageStd { get; init; } = [];

    /// <summary>Pad the picture, where the processor's type knows padding.</summary>
    public bool DoPad { get; init; }

    /// <summary>Reads the settings of a model folder; where both files are there, preprocessor_config.json counts. Any thread.</summary>
    /// <exception cref="ModelFormatException">Neither file is there, one is malformed, or a value is out of range.</exception>
    public static PreprocessorConfig Read(string modelDirectory)
    {
        if (JsonFile.ReadIfThere(modelDirectory, FileName, ConfigJson.Default.PreprocessorConfigJson) is { } own)
            return Convert(own, "", new Checked(Path.Combine(modelDirectory, FileName)));
        ProcessorConfigJson? processor = JsonFile.ReadIfThere(modelDirectory, ProcessorConfig.FileName, ConfigJson.Default.ProcessorConfigJson);
        if (processor?.ImageProcessor is { } nested)
            return Convert(nested, "image_processor.", new Checked(Path.Combine(modelDirectory, ProcessorConfig.FileName)));
        throw new ModelFormatException(
            modelDirectory, null, $"holds no picture settings: looked for {FileName} and for image_processor in {ProcessorConfig.FileName}");
    }

    /// <summary>Reads the settings from the bytes of preprocessor_config.json.</summary>
    internal static PreprocessorConfig Parse(ReadOnlySpan<byte> json, string file) =>
        Convert(JsonFile.Parse(json, file, ConfigJson.Default.PreprocessorConfigJson), "", new Checked(file));

    private static PreprocessorConfig Convert(PreprocessorConfigJson json, string prefix, in Checked check)
    {
        PictureSize size = Size(json.Size ?? new PictureSize { ShortestEdge = DefaultSide }, prefix + "size", check);
        PictureSize crop = Square(json.CropSize ?? new PictureSize { Single = DefaultSide }, prefix + "crop_size", check);
        return new PreprocessorConfig
        {
            ImageProcessorType = json.ImageProcessorType,
            DoConvertRgb = json.DoConvertRgb ?? true,
            DoResize = json.DoResize ?? true,
            ShortestEdge = size.ShortestEdge,
            LongestEdge = size.LongestEdge,
            Height = size.Height,
            Width = size.Width,
            Resample = (ResampleFilter)check.Integer(prefix + "resample", json.Resample ?? (int)ResampleFilter.Bicubic, 0, 3),

            // Cutting is CLIP's; the other processors have no such step unless the file says so.
            DoCenterCrop = json.DoCenterCrop ?? json.ImageProcessorType?.StartsWith("CLIP", StringComparison.Ordinal) ?? true,
            CropHeight = crop.Height!.Value,
            CropWidth = crop.Width!.Value,
            DoRescale = json.DoRescale ?? true,
            RescaleFactor = check.Number(prefix + "rescale_factor", json.RescaleFactor ?? (1.0 / 255), 1e-9, 1e3),
            DoNormalize = json.DoNormalize ?? true,
            ImageMean = Channels(json.ImageMean, [0.48145466, 0.4578275, 0.40821073], -1e3, prefix + "image_mean", check),
            ImageStd = Channels(json.ImageStd, [0.26862954, 0.26130258, 0.27577711], 1e-6, prefix + "image_std", check),
            DoPad = json.DoPad ?? false,
        };
    }

    /// <summary>A single number is the shortest edge, as CLIPImageProcessor has it.</summary>
    private static PictureSize Size(PictureSize given, string property, in Checked check)
    {
        if (given.Single is int single)
            given = new PictureSize { ShortestEdge = single };
        if (given.ShortestEdge is not null && given.Height is null && given.Width is null)
        {
            check.Integer(property + ".shortest_edge", given.ShortestEdge.Value, 1, MaxEdge);
            if (given.LongestEdge is int longest)
                check.Integer(property + ".longest_edge", longest, given.ShortestEdge.Value, MaxEdge);
            return given;
        }

        if (given.ShortestEdge is not null || given.LongestEdge is not null)
            throw check.Wrong(property, "must have either shortest_edge, or height and width");
        return Square(given, property, check);
    }

    /// <summary>A single number is both sides.</summary>
    private static PictureSize Square(PictureSize given, string property, in Checked check)
    {
        if (given.Single is int side)
            given = new PictureSize { Height = side, Width = side };
        if (given.Height is null || given.Width is null)
            throw check.Wrong(property, "must have height and width");
        check.Integer(property + ".height", given.Height.Value, 1, MaxSide);
        check.Integer(property + ".width", given.Width.Value, 1, MaxSide);
        return given;
    }

    private static double[] Channels(double[]? given, double[] missing, double least, string property, in Checked check)
    {
        if (given is null)
            return missing;
        if (given.Length != 3)
            throw check.Wrong(property, $"has {given.Length} numbers, but must have 3: red, green, blue");
        foreach (double value in given)
            check.Number(property, value, least, 1e3);
        return given;
    }
}
