using System.Buffers.Binary;

namespace ParVts.Engine.Imaging.Jpeg;

/// <summary>
/// What a walk along a JPEG's markers tells, before any library sees the data: size, orientation, how many scans there
/// are, and whether the end is there.
/// </summary>
internal readonly record struct JpegHeader(int Width, int Height, bool Arithmetic, long LeastBlocks, int Scans, bool EndSeen, int Orientation)
{
    private const byte StartOfImage = 0xD8, EndOfImage = 0xD9, StartOfScan = 0xDA, App1 = 0xE1;

    public static JpegHeader Parse(ReadOnlySpan<byte> data)
    {
        var header = new JpegHeader { Orientation = Imaging.Orientation.Upright };
        bool exifSeen = false;
        int at = 2;
        while (TryNextMarker(data, ref at, out byte marker))
        {
            if (marker == EndOfImage)
                return Checked(header with { EndSeen = true });
            // Markers without a body: TEM, restarts, a second start.
            if (marker is 0x01 or StartOfImage or (>= 0xD0 and <= 0xD7))
                continue;
            if (at + 2 > data.Length)
                break;
            int length = BinaryPrimitives.ReadUInt16BigEndian(data[at..]);
            if (length < 2)
                throw JpegReader.Error($"marker 0xFF{marker:X2} at byte {at - 2} has a length of {length}: the file is damaged.");
            if (length > data.Length - at)
                break;
            ReadOnlySpan<byte> body = data.Slice(at + 2, length - 2);
            at += length;
            if (marker == StartOfScan)
                header = header with { Scans = header.Scans + 1 };
            else if (marker is >= 0xC0 and <= 0xCF and not (0xC4 or 0xC8 or 0xCC) && header.Width == 0)
                header = ReadFrame(header, marker, body);
            else if (marker == App1 && !exifSeen && body.StartsWith("Exif\0\0"u8))
            {
                exifSeen = true;
                header = header with { Orientation = Imaging.Orientation.Read(body) };
            }
        }

        return Checked(header);
    }

    // Skips whatever is no marker: entropy-coded data (0xFF00 is a byte of it) and fill bytes.
    private static bool TryNextMarker(ReadOnlySpan<byte> data, ref int at, out byte marker)
    {
        while (true)
        {
            int found = data[at..].IndexOf((byte)0xFF);
            marker = 0;
            if (found < 0)
                return false;
            at += found;
            while (at < data.Length && data[at] == 0xFF)
                at++;
            if (at >= data.Length)
                return false;
            marker = data[at++];
            if (marker != 0)
                return true;
        }
    }

    private static JpegHeader ReadFrame(JpegHeader header, byte marker, ReadOnlySpan<byte> body)
    {
        if (body.Length < 6 || body.Length < 6 + body[5] * 3 || body[5] == 0)
            throw JpegReader.Error("the frame header is too short: the file is damaged.");
        int height = BinaryPrimitives.ReadUInt16BigEndian(body[1..]), width = BinaryPrimitives.ReadUInt16BigEndian(body[3..]);
        ReadOnlySpan<byte> components = body.Slice(6, body[5] * 3);
        int mostX = 1, mostY = 1;
        for (int i = 1; i < components.Length; i += 3)
            (mostX, mostY) = (Math.Max(mostX, components[i] >> 4), Math.Max(mostY, components[i] & 15));
        long least = long.MaxValue;
        for (int i = 1; i < components.Length; i += 3)
        {
            long columns = (long)width * Math.Max(1, components[i] >> 4) / (8 * mostX), rows = (long)height * Math.Max(1, components[i] & 15) / (8 * mostY);
            least = Math.Min(least, columns * rows);
        }

        return header with { Width = width, Height = height, Arithmetic = marker >= 0xC9, LeastBlocks = least };
    }

    private static JpegHeader Checked(JpegHeader header) => header switch
    {
        { Width: 0 } => throw JpegReader.Error("there is no frame header with a width before the end: the file is damaged or cut short."),
        { Height: 0 } => throw JpegReader.Error("the height is not in the header; such pictures are not supported."),
        _ => header,
    };
}
