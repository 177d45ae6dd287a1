using ParVts.Engine.Formats;
using ParVts.Engine.Imaging;

namespace ParVts.Engine.Generation;

/// <summary>Makes the image preprocessor that a checkpoint describes. Any thread.</summary>
public static class Preprocessing
{
    /// <summary>Reads the preprocessor of a folder on its own.</summary>
    /// <exception cref="ModelFormatException">The file is missing or malformed.</exception>
    public static ImagePreprocessor Create(string directory)
    {
        PreprocessorConfig config = PreprocessorConfig.Read(directory);
        return new ImagePreprocessor(new ImagePreprocessorSettings
        {
            DoResize = config.DoResize,
            ShortestEdge = config.ShortestEdge,
            Height = config.Height,
            Width = config.Width,
            Resample = (Imaging.Resampling.ResampleFilter)config.Resample,
            DoCenterCrop = config.DoCenterCrop,
            CropHeight = config.CropHeight,
            CropWidth = config.CropWidth,
            DoRescale = config.DoRescale,
            RescaleFactor = config.RescaleFactor,
            DoNormalize = config.DoNormalize,
            ImageMean = config.ImageMean,
            ImageStd = config.ImageStd,
            PadToSquare = config.DoPad,
        });
    }

    /// <summary>Reads it and checks that it makes what the vision tower takes.</summary>
    internal static ImagePreprocessor Create(string directory, ModelConfig config)
    {
        ImagePreprocessor preprocessor = Create(directory);
        (int height, int width) = preprocessor.OutputSize;
        int size = config.Vision.ImageSize;
        if (height != size || width != size)
        {
            throw new ModelFormatException(
                directory,
                null,
                $"the preprocessor makes pictures of {width}×{height}, but the vision tower takes {size}×{size}");
        }

        return preprocessor;
    }
}
