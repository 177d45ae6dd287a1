using ParVts.Engine.Imaging;
using ParVts.Engine.Imaging.Resampling;
using Spectre.Console;

namespace ParVts.Runner.Output;

/// <summary>A picture as terminal blocks: each character shows two pixels, one above the other.</summary>
internal static class TerminalPicture
{
    private const int MaxColumns = 64;
    private const int MaxRows = 24;
    private const string UpperHalf = "\u2580";

    /// <summary>Shows the picture on standard error; a plain line where that cannot show it.</summary>
    public static void Show(string caption, RgbImage image)
    {
        Terminal.Note(caption);
        Profile profile = Terminal.Error.Profile;
        if (!Terminal.IsInteractive || !profile.Capabilities.Unicode || profile.Capabilities.ColorSystem < ColorSystem.EightBit)
            return;

        double scale = Math.Min(
            Math.Min(MaxColumns, profile.Width - 1) / (double)image.Width,
            2 * MaxRows / (double)image.Height);
        int columns = Math.Max(1, (int)(image.Width * scale));
        int rows = Math.Max(1, (int)(image.Height * scale / 2));
        RgbImage small = Resampler.Resize(image, columns, 2 * rows, ResampleFilter.Bicubic);
        var blocks = new Paragraph();
        for (int row = 0; row < rows; row++)
        {
            for (int column = 0; column < columns; column++)
                blocks.Append(UpperHalf, new Style(ColorAt(small, column, 2 * row), ColorAt(small, column, 2 * row + 1)));
            blocks.Append("\n");
        }

        Terminal.Error.Write(blocks);
    }

    private static Color ColorAt(RgbImage image, int x, int y)
    {
        ReadOnlySpan<byte> pixel = image.Pixels.AsSpan(3 * (y * image.Width + x), 3);
        return new Color(pixel[0], pixel[1], pixel[2]);
    }
}
