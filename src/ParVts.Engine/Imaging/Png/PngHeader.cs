using System.Buffers.Binary;

namespace ParVts.Engine.Imaging.Png;

internal enum PngColour
{
    Grey = 0,
    Rgb = 2,
    Palette = 3,
    GreyAlpha = 4,
    Rgba = 6,
}

/// <summary>A PNG's IHDR chunk, checked.</summary>
internal readonly record struct PngHeader(int Width, int Height, int Depth, PngColour Colour, bool Interlaced)
{
    public const int Length = 13;

    public int Channels => Colour switch
    {
        PngColour.Rgb => 3,
        PngColour.GreyAlpha => 2,
        PngColour.Rgba => 4,
        _ => 1,
    };

    /// <summary>The distance, in bytes, between a byte and the one that filters compare it with.</summary>
    public int FilterDistance => Math.Max(1, Channels * Depth / 8);

    public static PngHeader Parse(ReadOnlySpan<byte> data)
    {
        if (data.Length != Length)
            throw PngReader.Error($"IHDR has {data.Length} bytes, not {Length}.");
        uint width = BinaryPrimitives.ReadUInt32BigEndian(data);
        uint height = BinaryPrimitives.ReadUInt32BigEndian(data[4..]);
        if (width is 0 or > int.MaxValue || height is 0 or > int.MaxValue)
            throw PngReader.Error($"the header claims {width} × {height} pixels.");
        (int depth, int colour) = (data[8], data[9]);
        bool known = colour switch
        {
            (int)PngColour.Grey => depth is 1 or 2 or 4 or 8 or 16,
            (int)PngColour.Palette => depth is 1 or 2 or 4 or 8,
            (int)PngColour.Rgb or (int)PngColour.GreyAlpha or (int)PngColour.Rgba => depth is 8 or 16,
            _ => false,
        };
        if (!known)
            throw PngReader.Error($"colour type {colour} with {depth} bits a sample does not exist.");
        if (data[10] != 0 || data[11] != 0 || data[12] > 1)
            throw PngReader.Error($"compression {data[10]}, filter {data[11]} or interlace method {data[12]} is unknown.");
        return new PngHeader((int)width, (int)height, depth, (PngColour)colour, data[12] == 1);
    }

    /// <summary>The bytes of a row of <paramref name="width"/> pixels, without the filter byte.</summary>
    public long RowBytes(int width) => ((long)width * Channels * Depth + 7) / 8;

    /// <summary>The passes in which the rows come: one, or the seven of Adam7 less those that are empty.</summary>
    public IEnumerable<PngPass> Passes()
    {
        if (!Interlaced)
        {
            yield return new PngPass(0, 0, 1, 1, Width, Height);
            yield break;
        }

        foreach ((int x, int y, int stepX, int stepY) in Adam7)
        {
            int width = (int)(((long)Width - x + stepX - 1) / stepX);
            int height = (int)(((long)Height - y + stepY - 1) / stepY);
            if (width > 0 && height > 0)
                yield return new PngPass(x, y, stepX, stepY, width, height);
        }
    }

    private static readonly (int X, int Y, int StepX, int StepY)[] Adam7 =
        [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)];
}

/// <summary>A smaller picture within the picture: pixel (i, j) lies at (X + i · StepX, Y + j · StepY).</summary>
internal readonly record struct PngPass(int X, int Y, int StepX, int StepY, int Width, int Height);
