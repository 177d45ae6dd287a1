using ParVts.Engine.Imaging;
using ParVts.Engine.Scheduling;
using ParVts.Runner.Explaining;

namespace ParVts.Runner.Tests;

/// <summary>The pictures of <c>parvts explain --png</c>, and the states that they and the page show.</summary>
public sealed class TokenOverlayTests
{
    [Test]
    public void StatesFollowTheEvents()
    {
        ExplainData data = Small(
            new ScheduleEvent { Layer = 1, Kind = ScheduleEventKind.Split, Kept = [0, 1, 2, 3], Subject = [1, 2] },
            new ScheduleEvent { Layer = 3, Kind = ScheduleEventKind.Fuse, Kept = [1, 2] },
            new ScheduleEvent { Layer = 4, Kind = ScheduleEventKind.Select, Kept = [2] },
            new ScheduleEvent { Layer = 4, Kind = ScheduleEventKind.Leave, Kept = [] });
        string[] shown = [.. Enumerable.Range(0, 6).Select(layer => string.Concat(TokenStates.At(data, layer).Select(s => s.ToString()[0])))];
        Assert.That(shown, Is.EqualTo(["AAAA", "RSSR", "RSSR", "DAAD", "DDDD", "DDDD"]));
    }

    [Test]
    public void EachChangeMakesAPicture()
    {
        ExplainData data = ExplainSample.Pyramid();
        string folder = Path.Combine(DemoModel.Scratch, "overlays");
        IReadOnlyList<string> names = TokenOverlay.Save(data, [ExplainSample.Picture, ExplainSample.Picture], folder);
        Assert.That(names, Is.EqualTo(new[] { 0, 8, 16, 24 }.SelectMany(layer => new[] { $"image0-layer{layer:00}.png", $"image1-layer{layer:00}.png" })));
        RgbImage first = ImageDecoder.Load(Path.Combine(folder, "image0-layer00.png"));
        RgbImage later = ImageDecoder.Load(Path.Combine(folder, "image1-layer16.png"));
        TokenState[] states = TokenStates.At(data, 16);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(first.Pixels, Is.EqualTo(ExplainSample.Picture.Pixels), "nothing has left yet");
            for (int token = 0; token < ExplainSample.Tokens; token++)
            {
                // The middle of a token of 14 × 14 pixels.
                int pixel = ((token / ExplainSample.Side * 14 + 7) * later.Width + token % ExplainSample.Side * 14 + 7) * 3;
                int before = Sum(ExplainSample.Picture, pixel);
                Assert.That(
                    Sum(later, pixel),
                    states[ExplainSample.Tokens + token] == TokenState.Alive ? Is.EqualTo(before) : Is.LessThan(before),
                    $"token {token}");
            }
        }
    }

    [Test]
    public void PathsHaveTheirOwnTints()
    {
        var grey = new RgbImage(2, 2, [.. Enumerable.Repeat((byte)128, 12)]);
        RgbImage drawn = TokenOverlay.Draw(
            grey, new ExplainGrid(2, 2), [TokenState.Alive, TokenState.Subject, TokenState.Rest, TokenState.Dropped]);
        byte[] p = drawn.Pixels;
        using (Assert.EnterMultipleScope())
        {
            Assert.That(p[..3], Is.EqualTo(new byte[] { 128, 128, 128 }));
            Assert.That(p[5], Is.GreaterThan(p[3] + 40), "path A is blue");
            Assert.That(p[6], Is.GreaterThan(p[8] + 40), "path B is orange");
            Assert.That(p[9..].Max(), Is.LessThan(64), "who has left is dim");
            Assert.That(grey.Pixels, Is.All.EqualTo((byte)128), "the picture itself stays");
        }
    }

    private static int Sum(RgbImage image, int pixel) => image.Pixels[pixel] + image.Pixels[pixel + 1] + image.Pixels[pixel + 2];

    private static ExplainData Small(params ScheduleEvent[] events) => ExplainSample.Dense() with
    {
        Visual = 4,
        Grid = new ExplainGrid(2, 2),
        Layers = [.. ExplainSample.Dense().Layers.Take(5)],
        Events = events,
    };
}
