using ParVts.Engine.Imaging.Png;

namespace ParVts.Runner.Output;

/// <summary>Plots as files: SVG as it is drawn, or PNG, whose pixels librsvg makes.</summary>
internal static class PlotFile
{
    // Pixels of a PNG for one of the drawing: sharp on a screen of high density and in print.
    private const int PixelsPerUnit = 2;

    /// <summary>Refuses what cannot become a plot's file; null is no plot. Before the work that it would show.</summary>
    /// <param name="option">The option that named it.</param>
    /// <param name="path">The path.</param>
    /// <exception cref="UsageException">It is a folder, its folder is not there, or its name ends neither in .svg nor in .png.</exception>
    /// <exception cref="ParVts.Engine.MissingLibraryException">It is a PNG, and librsvg or cairo is not installed.</exception>
    public static void Require(string option, string? path)
    {
        OutputFile.Require(option, path);
        if (path is null)
            return;
        if (IsPng(path))
            SvgRasterizer.Require();
        else if (!HasExtension(path, ".svg"))
            throw new UsageException($"{option} {path}: plots are written as SVG or PNG; name a file that ends in .svg or .png");
    }

    /// <summary>Writes a drawing.</summary>
    /// <param name="path">The file, as <see cref="Require"/> found it good.</param>
    /// <param name="svg">The drawing.</param>
    public static void Save(string path, string svg)
    {
        if (IsPng(path))
            PngWriter.Save(SvgRasterizer.Draw(svg, PixelsPerUnit), path);
        else
            File.WriteAllText(path, svg);
    }

    private static bool IsPng(string path) => HasExtension(path, ".png");

    private static bool HasExtension(string path, string extension) => path.EndsWith(extension, StringComparison.OrdinalIgnoreCase);
}
