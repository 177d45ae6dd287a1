namespace ParVts.Engine.Imaging.Bmp;

/// <summary>BMP's run-length coding, for 4 and 8 bits. Pixels that no run paints have the palette's first colour.</summary>
internal static class BmpRuns
{
    private const int EndOfLine = 0, EndOfPicture = 1, Jump = 2;

    public static void Decode(ReadOnlySpan<byte> body, BmpHeader header, RgbImage image)
    {
        bool nibbles = header.Bits == 4;
        for (int to = 0; to < image.Pixels.Length; to += 3)
            BmpReader.PutColour(header.Palette, 0, image.Pixels.AsSpan(to, 3));
        int x = 0, y = 0, at = 0;
        while (y < header.Height)
        {
            if (at + 2 > body.Length)
                throw CutShort();
            int count = body[at], value = body[at + 1];
            at += 2;
            if (count > 0)
            {
                Span<byte> row = Row(header, image, y);
                for (int i = 0; i < count && x < header.Width; i++, x++)
                    BmpReader.PutColour(header.Palette, nibbles ? (i & 1) == 0 ? value >> 4 : value & 15 : value, row.Slice(x * 3, 3));
                continue;
            }

            switch (value)
            {
                case EndOfLine:
                    (x, y) = (0, y + 1);
                    break;
                case EndOfPicture:
                    return;
                case Jump:
                    if (at + 2 > body.Length)
                        throw CutShort();
                    (x, y) = (Math.Min(x + body[at], header.Width), y + body[at + 1]);
                    at += 2;
                    break;
                default:
                    at += Literal(body[at..], value, nibbles, header, Row(header, image, y), ref x);
                    break;
            }
        }
    }

    /// <summary>Pixels one by one; what they take is filled up to an even number of bytes.</summary>
    private static int Literal(ReadOnlySpan<byte> body, int count, bool nibbles, BmpHeader header, Span<byte> row, ref int x)
    {
        int bytes = nibbles ? (count + 1) / 2 : count;
        if (bytes > body.Length)
            throw CutShort();
        for (int i = 0; i < count && x < header.Width; i++, x++)
        {
            int value = !nibbles ? body[i] : (i & 1) == 0 ? body[i / 2] >> 4 : body[i / 2] & 15;
            BmpReader.PutColour(header.Palette, value, row.Slice(x * 3, 3));
        }

        return Math.Min(bytes + (bytes & 1), body.Length);
    }

    private static Span<byte> Row(BmpHeader header, RgbImage image, int y) => image.Row(header.TopDown ? y : header.Height - 1 - y);

    private static ImageFormatException CutShort() => BmpReader.Error("the file is cut short within its pixels.");
}
