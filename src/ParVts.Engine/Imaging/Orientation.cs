using System.Buffers.Binary;

namespace ParVts.Engine.Imaging;

/// <summary>The EXIF orientation: found in a TIFF block, and applied to a picture.</summary>
internal static class Orientation
{
    public const int Upright = 1;

    private const ushort Tag = 0x0112;
    private const int EntryBytes = 12;

    /// <summary>
    /// The orientation (1 to 8) in a TIFF block: what follows "Exif\0\0" in a JPEG, or a PNG's eXIf chunk. A block that
    /// is damaged, or says nothing, is upright: metadata never makes a picture unreadable.
    /// </summary>
    public static int Read(ReadOnlySpan<byte> tiff)
    {
        if (tiff.StartsWith("Exif\0\0"u8))
            tiff = tiff[6..];
        bool little = tiff.StartsWith("II*\0"u8);
        if (tiff.Length < 8 || (!little && !tiff.StartsWith("MM\0*"u8)))
            return Upright;
        uint directory = Read32(tiff[4..], little);
        if (directory > tiff.Length - 2)
            return Upright;
        ReadOnlySpan<byte> entries = tiff[(int)directory..];
        int count = Math.Min(Read16(entries, little), (entries.Length - 2) / EntryBytes);
        for (int i = 0; i < count; i++)
        {
            ReadOnlySpan<byte> entry = entries.Slice(2 + i * EntryBytes, EntryBytes);
            if (Read16(entry, little) == Tag)
                return Value(entry, little) is var value and >= 1 and <= 8 ? (int)value : Upright;
        }

        return Upright;
    }

    /// <summary>The picture as it is meant to be seen: the same object where nothing is to be done.</summary>
    public static RgbImage Apply(RgbImage image, int orientation)
    {
        if (orientation is < 2 or > 8)
            return image;
        bool turned = orientation >= 5;
        int width = turned ? image.Height : image.Width;
        int height = turned ? image.Width : image.Height;
        // The source of output pixel (x, y) is start + x · stepX + y · stepY.
        int right = 3, down = image.Width * 3;
        int lastX = (image.Width - 1) * right, lastY = (image.Height - 1) * down;
        (int start, int stepX, int stepY) = orientation switch
        {
            2 => (lastX, -right, down),
            3 => (lastX + lastY, -right, -down),
            4 => (lastY, right, -down),
            5 => (0, down, right),
            6 => (lastY, -down, right),
            7 => (lastX + lastY, -down, -right),
            _ => (lastX, down, -right),
        };
        var result = new RgbImage(width, height);
        byte[] from = image.Pixels, to = result.Pixels;
        int at = 0;
        for (int y = 0; y < height; y++)
        {
            int source = start + y * stepY;
            for (int x = 0; x < width; x++, source += stepX, at += 3)
            {
                to[at] = from[source];
                to[at + 1] = from[source + 1];
                to[at + 2] = from[source + 2];
            }
        }

        return result;
    }

    // One SHORT (type 3), as the standard has it, or one LONG (type 4), as some writers do.
    private static uint Value(ReadOnlySpan<byte> entry, bool little) => (Read16(entry[2..], little), Read32(entry[4..], little)) switch
    {
        (3, 1) => Read16(entry[8..], little),
        (4, 1) => Read32(entry[8..], little),
        _ => Upright,
    };

    private static ushort Read16(ReadOnlySpan<byte> data, bool little) =>
        little ? BinaryPrimitives.ReadUInt16LittleEndian(data) : BinaryPrimitives.ReadUInt16BigEndian(data);

    private static uint Read32(ReadOnlySpan<byte> data, bool little) =>
        little ? BinaryPrimitives.ReadUInt32LittleEndian(data) : BinaryPrimitives.ReadUInt32BigEndian(data);
}
