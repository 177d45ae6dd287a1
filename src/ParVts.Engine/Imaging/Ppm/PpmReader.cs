namespace ParVts.Engine.Imaging.Ppm;

/// <summary>
/// Reads the plain and the binary kinds of PBM, PGM and PPM (P1 to P6), of at most 16 bits a sample. Samples are scaled
/// to 255 and rounded as Pillow does; of several pictures in a file the first is read.
/// </summary>
internal static class PpmReader
{
    public const string Format = "PPM";

    private const int MaxDigits = 9;

    public static bool Recognises(ReadOnlySpan<byte> data) =>
        data.Length >= 3 && data[0] == 'P' && data[1] is >= (byte)'1' and <= (byte)'6' && (IsSpace(data[2]) || data[2] == '#');

    public static ImageInfo Identify(ReadOnlySpan<byte> data)
    {
        Header header = ReadHeader(data);
        if (header.Width < 1 || header.Height < 1)
            throw Error($"the header claims {header.Width} × {header.Height} pixels.");
        return new ImageInfo(Format, header.Width, header.Height, Orientation.Upright);
    }

    public static (RgbImage Image, int Orientation) Decode(ReadOnlySpan<byte> data, ImageDecodeOptions options)
    {
        Header header = ReadHeader(data);
        options.Limits.CheckSize(Format, header.Width, header.Height);
        ReadOnlySpan<byte> body = data[header.BodyAt..];
        if (body.Length < header.LeastBytes)
            throw Error($"{header.Width} × {header.Height} pixels need {header.LeastBytes} bytes or more; the file has {body.Length}: it is cut short.");
        var image = new RgbImage(header.Width, header.Height);
        switch (header.Kind)
        {
            case 1:
                PlainBits(body, image);
                break;
            case 2 or 3:
                Plain(body, header, image);
                break;
            case 4:
                Bits(body, image);
                break;
            default:
                Binary(body, header, image);
                break;
        }

        return (image, Orientation.Upright);
    }

    private static Header ReadHeader(ReadOnlySpan<byte> data)
    {
        int kind = data[1] - '0', at = 2;
        int width = ReadNumber(data, ref at, "width"), height = ReadNumber(data, ref at, "height");
        int most = kind is 1 or 4 ? 1 : ReadNumber(data, ref at, "largest sample");
        if (most is < 1 or > 65535)
            throw Error($"the largest sample is {most}; 1 to 65535 are possible.");
        // Exactly one white space ends the header of the binary kinds; the plain kinds skip white space anyway.
        if (at >= data.Length || !IsSpace(data[at]))
            throw Error("the header does not end with white space, or the file ends with it.");
        return new Header(kind, width, height, most, at + 1);
    }

    private static int ReadNumber(ReadOnlySpan<byte> data, ref int at, string what)
    {
        SkipSpace(data, ref at);
        int start = at, number = 0;
        while (at < data.Length && data[at] is >= (byte)'0' and <= (byte)'9')
        {
            if (at - start == MaxDigits)
                throw Error($"the {what} has more than {MaxDigits} digits.");
            number = number * 10 + data[at++] - '0';
        }

        return at > start ? number : throw Error($"the {what} is missing at byte {at}: the file is damaged or cut short.");
    }

    private static void SkipSpace(ReadOnlySpan<byte> data, ref int at)
    {
        bool comment = false;
        for (; at < data.Length && (comment || IsSpace(data[at]) || data[at] == '#'); at++)
            comment = (comment || data[at] == '#') && data[at] is not ((byte)'\n' or (byte)'\r');
    }

    private static bool IsSpace(byte b) => b is (byte)' ' or (byte)'\t' or (byte)'\n' or (byte)'\v' or (byte)'\f' or (byte)'\r';

    private static void PlainBits(ReadOnlySpan<byte> body, RgbImage image)
    {
        int at = 0;
        byte[] pixels = image.Pixels;
        for (int to = 0; to < pixels.Length; to += 3)
        {
            SkipSpace(body, ref at);
            if (at >= body.Length || body[at] is not ((byte)'0' or (byte)'1'))
                throw Error("a bit is missing, or neither 0 nor 1: the file is damaged or cut short.");
            pixels.AsSpan(to, 3).Fill(body[at++] == '0' ? (byte)255 : (byte)0);
        }
    }

    private static void Plain(ReadOnlySpan<byte> body, Header header, RgbImage image)
    {
        byte[] scale = header.Scale();
        int at = 0, copies = header.Kind == 2 ? 3 : 1;
        for (int to = 0; to < image.Pixels.Length; to += copies)
        {
            int sample = ReadNumber(body, ref at, "sample");
            if (sample > header.Most)
                throw Error($"a sample is {sample}, above the largest of {header.Most}.");
            image.Pixels.AsSpan(to, copies).Fill(scale[sample]);
        }
    }

    private static void Bits(ReadOnlySpan<byte> body, RgbImage image)
    {
        int rowBytes = (image.Width + 7) / 8;
        for (int y = 0; y < image.Height; y++)
        {
            ReadOnlySpan<byte> bits = body.Slice(y * rowBytes, rowBytes);
            Span<byte> row = image.Row(y);
            for (int x = 0; x < image.Width; x++)
                row.Slice(x * 3, 3).Fill((bits[x >> 3] & (0x80 >> (x & 7))) == 0 ? (byte)255 : (byte)0);
        }
    }

    private static void Binary(ReadOnlySpan<byte> body, Header header, RgbImage image)
    {
        byte[] pixels = image.Pixels;
        if (header is { Kind: 6, Most: 255 })
        {
            body[..pixels.Length].CopyTo(pixels);
            return;
        }

        byte[] scale = header.Scale();
        int copies = header.Kind == 5 ? 3 : 1, bytes = header.SampleBytes;
        for (int from = 0, to = 0; to < pixels.Length; from += bytes, to += copies)
        {
            int sample = bytes == 1 ? body[from] : body[from] << 8 | body[from + 1];
            pixels.AsSpan(to, copies).Fill(scale[Math.Min(sample, header.Most)]);
        }
    }

    private static ImageFormatException Error(string message) => new(Format, message);

    private readonly record struct Header(int Kind, int Width, int Height, int Most, int BodyAt)
    {
        public int SampleBytes => Most > 255 ? 2 : 1;

        /// <summary>The fewest bytes that the pixels can have: the exact number for the binary kinds.</summary>
        public long LeastBytes => Kind switch
        {
            1 => (long)Width * Height,
            2 => (long)Width * Height * 2 - 1,
            3 => (long)Width * Height * 6 - 1,
            4 => (Width + 7L) / 8 * Height,
            5 => (long)Width * Height * SampleBytes,
            _ => (long)Width * Height * 3 * SampleBytes,
        };

        public byte[] Scale()
        {
            byte[] scale = new byte[Most + 1];
            for (int i = 0; i < scale.Length; i++)
                scale[i] = (byte)Math.Round((double)i / Most * 255);
            return scale;
        }
    }
}
