using System.Globalization;
using ParVts.Engine.Imaging;
using ParVts.Engine.Imaging.Png;

namespace ParVts.Runner.Explaining;

/// <summary>
/// Draws what a policy does with the visual tokens over the pictures that they come from: who has left is dimmed, and
/// while two paths run each has its own tint. The colours are the page's.
/// </summary>
internal static class TokenOverlay
{
    private static readonly Tint Subject = new(0x1F, 0x8F, 0xFF, 0.4f);
    private static readonly Tint Rest = new(0xFF, 0x9D, 0x1E, 0.42f);
    private static readonly Tint Dropped = new(0x10, 0x14, 0x1C, 0.84f);

    /// <summary>
    /// Writes a PNG a picture for each layer at whose entry something changed, 0 among them: <c>image0-layer03.png</c>.
    /// </summary>
    /// <param name="data">The schedule.</param>
    /// <param name="pictures">The pictures, as the model sees them.</param>
    /// <param name="folder">Where to; made where it is not there.</param>
    /// <returns>The files' names, in the order in which they were written.</returns>
    /// <exception cref="IOException">A file cannot be written.</exception>
    public static IReadOnlyList<string> Save(ExplainData data, IReadOnlyList<RgbImage> pictures, string folder)
    {
        Directory.CreateDirectory(folder);
        int tokens = data.Grid.Tokens;
        var files = new List<string>();
        foreach ((int layer, TokenState[] states) in TokenStates.Stages(data))
        {
            for (int i = 0; i < pictures.Count; i++)
            {
                string name = string.Create(CultureInfo.InvariantCulture, $"image{i}-layer{layer:00}.png");
                PngWriter.Save(Draw(pictures[i], data.Grid, states.AsSpan(i * tokens, tokens)), Path.Combine(folder, name));
                files.Add(name);
            }
        }

        return files;
    }

    /// <summary>The picture with its tokens' states over it.</summary>
    public static RgbImage Draw(RgbImage picture, ExplainGrid grid, ReadOnlySpan<TokenState> states)
    {
        var drawn = new RgbImage(picture.Width, picture.Height, [.. picture.Pixels]);
        for (int y = 0; y < picture.Height; y++)
        {
            int row = y * grid.Height / picture.Height;
            for (int x = 0; x < picture.Width; x++)
            {
                int column = x * grid.Width / picture.Width;
                Blend(drawn.Pixels.AsSpan((y * picture.Width + x) * 3, 3), states[grid.Extra + row * grid.Width + column]);
            }
        }

        return drawn;
    }

    private static void Blend(Span<byte> pixel, TokenState state)
    {
        if (state == TokenState.Alive)
            return;
        Tint tint = state switch
        {
            TokenState.Subject => Subject,
            TokenState.Rest => Rest,
            _ => Dropped,
        };
        pixel[0] = Mix(pixel[0], tint.Red, tint.Share);
        pixel[1] = Mix(pixel[1], tint.Green, tint.Share);
        pixel[2] = Mix(pixel[2], tint.Blue, tint.Share);
    }

    private static byte Mix(byte under, byte over, float share) => (byte)MathF.Round(under + (over - under) * share);

    private readonly record struct Tint(byte Red, byte Green, byte Blue, float Share);
}
