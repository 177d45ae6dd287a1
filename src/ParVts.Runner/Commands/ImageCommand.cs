using System.CommandLine;
using System.Globalization;
using ParVts.Engine.Formats;
using ParVts.Engine.Generation;
using ParVts.Engine.Imaging;
using ParVts.Engine.Imaging.Png;
using ParVts.Engine.Imaging.Ppm;
using ParVts.Engine.Imaging.Resampling;
using ParVts.Runner.Options;
using ParVts.Runner.Output;
using ResampleFilter = ParVts.Engine.Imaging.Resampling.ResampleFilter;

namespace ParVts.Runner.Commands;

/// <summary><c>parvts image</c>: the picture stages alone, for comparing them with other implementations.</summary>
internal static class ImageCommand
{
    private const int MaxSide = 65535;

    public static Command Create()
    {
        var image = new Option<string>("--image") { Description = "The picture, or - for standard input.", HelpName = "FILE", Required = true };
        var output = new Option<string>("--out") { Description = "X.safetensors, X.png or X.ppm.", HelpName = "FILE", Required = true };
        var preprocessor = new Option<string?>("--preprocessor")
        {
            Description = "Make pixel_values as this folder's preprocessor_config.json says.",
            HelpName = "DIR",
        };
        var resize = new Option<string?>("--resize") { Description = "Resize to this size and write a picture.", HelpName = "WxH" };
        var filter = new Option<string>("--filter")
        {
            Description = "bicubic, bilinear or lanczos.",
            HelpName = "NAME",
            DefaultValueFactory = _ => "bicubic",
        };
        filter.AcceptOnlyFromAmong("bicubic", "bilinear", "lanczos");
        Option<string> aspect = PromptOptions.CreateAspect();
        var command = new CommandWithExamples(
            "image",
            "Prepare a picture as a model would see it, or resize it.",
            """
            parvts image --preprocessor llava-1.5-7b --image cat.jpg --out pixels.safetensors
            parvts image --image cat.jpg --resize 336x336 --filter bicubic --out small.png
            """)
        {
            image, output, preprocessor, resize, filter, aspect,
        };
        command.SetAction(parse =>
        {
            string? directory = parse.GetValue(preprocessor);
            string? size = parse.GetValue(resize);
            if (directory is null == size is null)
                throw new UsageException("give either --preprocessor DIR or --resize WxH");
            bool json = parse.GetValue(CommonOptions.Json);
            string file = parse.GetRequiredValue(output);
            string name = parse.GetRequiredValue(image);
            if (directory is not null)
                Preprocess(directory, name, PromptOptions.ParseAspect(parse.GetRequiredValue(aspect)), file, json);
            else
                Resize(name, ParseSize(size!), ParseFilter(parse.GetRequiredValue(filter)), file, json);
            return (int)ExitCode.Done;
        });
        return command;
    }

    private static void Preprocess(string directory, string name, ImageAspect aspect, string file, bool json)
    {
        RequireEnding(file, ".safetensors");
        ImagePreprocessor preprocessor = Preprocessing.Create(directory);
        (int height, int width) = preprocessor.OutputSize;
        float[] pixels = preprocessor.Process(Picture.Load(name).Image, aspect);
        SafetensorsWriter.Write(file, [TensorToWrite.Of("pixel_values", pixels, 1, 3, height, width)]);
        Report(file, width, height, json);
    }

    private static void Resize(string name, (int Width, int Height) size, ResampleFilter filter, string file, bool json)
    {
        string ending = RequireEnding(file, ".png", ".ppm");
        RgbImage image = Resampler.Resize(Picture.Load(name).Image, size.Width, size.Height, filter);
        if (ending == ".png")
            PngWriter.Save(image, file);
        else
            PpmWriter.Save(image, file);
        Report(file, image.Width, image.Height, json);
    }

    private static void Report(string file, int width, int height, bool json)
    {
        if (!json)
        {
            Terminal.Note($"{file}: {width}×{height}");
            return;
        }

        JsonOutput.Write(writer =>
        {
            writer.WriteString("out", file);
            writer.WriteNumber("width", width);
            writer.WriteNumber("height", height);
        });
    }

    private static (int Width, int Height) ParseSize(string text)
    {
        string[] parts = text.Split('x', 'X');
        if (parts.Length == 2
            && int.TryParse(parts[0], NumberStyles.None, CultureInfo.InvariantCulture, out int width)
            && int.TryParse(parts[1], NumberStyles.None, CultureInfo.InvariantCulture, out int height)
            && width is > 0 and <= MaxSide && height is > 0 and <= MaxSide)
        {
            return (width, height);
        }

        throw new UsageException($"--resize is '{text}'; write WIDTHxHEIGHT, each from 1 to {MaxSide}");
    }

    private static ResampleFilter ParseFilter(string name) => name switch
    {
        "bilinear" => ResampleFilter.Bilinear,
        "lanczos" => ResampleFilter.Lanczos,
        _ => ResampleFilter.Bicubic,
    };

    private static string RequireEnding(string file, params string[] endings) =>
        endings.FirstOrDefault(ending => file.EndsWith(ending, StringComparison.OrdinalIgnoreCase))
        ?? throw new UsageException($"--out is '{file}'; its name must end in {string.Join(" or ", endings)}");
}
