using ParVts.Engine;
using ParVts.Engine.Imaging;
using ParVts.Runner.Output;

namespace ParVts.Runner.Tests;

/// <summary>Plots as pixels.</summary>
public sealed class PlotFileTests
{
    [Test]
    public void PixelsShowWhatWasDrawn()
    {
        var plot = new SvgPlot(100, 60, "a plot");
        plot.AddPanel(new SvgBox(10, 10, 90, 50), new SvgAxis(0, 1), new SvgAxis(0, 1), _ => "");
        plot.AddDots([(0.5, 0.5)], "#d55e00", 6);
        plot.AddText(60, 30, "MMM");
        string path = Path.Combine(DemoModel.Scratch, "plot.png");
        try
        {
            PlotFile.Require("--plot", path);
        }
        catch (MissingLibraryException missing)
        {
            Assert.Ignore(missing.Message);
        }

        PlotFile.Save(path, plot.ToString());
        RgbImage image = ImageDecoder.Load(path);
        using (Assert.EnterMultipleScope())
        {
            Assert.That((image.Width, image.Height), Is.EqualTo((200, 120)), "two pixels for one of the drawing");
            Assert.That(Pixel(image, 100, 60), Is.EqualTo((0xd5, 0x5e, 0x00)), "the dot in its middle");
            Assert.That(Pixel(image, 5, 5), Is.EqualTo((255, 255, 255)), "the ground");
            Assert.That(Darkest(image, 120, 40, 190, 62), Is.LessThan(100), "the text");
        }
    }

    private static (int R, int G, int B) Pixel(RgbImage image, int x, int y)
    {
        int at = (y * image.Width + x) * 3;
        return (image.Pixels[at], image.Pixels[at + 1], image.Pixels[at + 2]);
    }

    private static int Darkest(RgbImage image, int left, int top, int right, int bottom) =>
        (from y in Enumerable.Range(top, bottom - top) from x in Enumerable.Range(left, right - left) select Pixel(image, x, y).G).Min();
}
