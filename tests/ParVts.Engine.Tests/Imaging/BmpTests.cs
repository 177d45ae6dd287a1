using ParVts.Engine.Imaging;

namespace ParVts.Engine.Tests.Imaging;

public class BmpTests
{
    private static readonly byte[] Colours = [10, 11, 12, 20, 21, 22, 30, 31, 32, 40, 41, 42];

    [TestCase(1, new byte[] { 0b1010_0000, 0, 0, 0, 0b0100_0000, 0, 0, 0 }, "010101")]
    [TestCase(4, new byte[] { 0x12, 0x30, 0, 0, 0x32, 0x10, 0, 0 }, "321123")]
    [TestCase(8, new byte[] { 1, 2, 3, 0, 0, 1, 2, 0 }, "012123")]
    public void Palette_pictures_decode(int bits, byte[] body, string entries)
    {
        byte[] palette = bits == 1 ? Colours[..6] : Colours;
        byte[] pixels = Paint(entries, palette);
        foreach (int header in (int[])[12, 40, 56, 64, 108, 124])
        {
            byte[] file = new BmpMaker(3, 2, bits) { HeaderBytes = header, Palette = palette }.File(body);
            Assert.That(ImageDecoder.Decode(file).Pixels, Is.EqualTo(pixels), $"header of {header}");
        }
    }

    [Test]
    public void True_colour_decodes_bottom_up_and_top_down([Values(24, 32)] int bits)
    {
        byte[] filler = bits == 32 ? [99] : [];
        byte[] padding = bits == 24 ? [0] : [];
        byte[] body = [3, 2, 1, .. filler, .. padding, 6, 5, 4, .. filler, .. padding];
        Assert.That(ImageDecoder.Decode(new BmpMaker(1, 2, bits).File(body)).Pixels, Is.EqualTo((byte[])[4, 5, 6, 1, 2, 3]));
        Assert.That(ImageDecoder.Decode(new BmpMaker(1, -2, bits).File(body)).Pixels, Is.EqualTo((byte[])[1, 2, 3, 4, 5, 6]));
    }

    [Test]
    public void The_padding_of_the_last_row_may_be_missing() =>
        Assert.That(ImageDecoder.Decode(new BmpMaker(1, 1, 24).File([3, 2, 1])).Pixels, Is.EqualTo((byte[])[1, 2, 3]));

    [Test]
    public void Sixteen_bits_without_masks_are_five_each()
    {
        int pixel = 31 << 10 | 16 << 5 | 1;
        Assert.That(ImageDecoder.Decode(new BmpMaker(1, 1, 16).File([(byte)pixel, (byte)(pixel >> 8), 0, 0])).Pixels, Is.EqualTo((byte[])[255, 131, 8]));
    }

    [Test]
    public void Bit_fields_decode([Values(40, 52, 56, 108, 124)] int header)
    {
        int pixel = 31 << 11 | 32 << 5 | 1;
        byte[] file = new BmpMaker(1, 1, 16) { HeaderBytes = header, Compression = 3, Masks = [0xF800, 0x07E0, 0x001F] }.File([(byte)pixel, (byte)(pixel >> 8), 0, 0]);
        Assert.That(ImageDecoder.Decode(file).Pixels, Is.EqualTo((byte[])[255, 129, 8]));
    }

    [Test]
    public void An_alpha_mask_counts_and_is_laid_over_white()
    {
        byte[] file = new BmpMaker(1, 1, 32) { HeaderBytes = 108, Compression = 3, Masks = [0xFF0000, 0xFF00, 0xFF, 0xFF000000] }.File([0, 100, 200, 51]);
        Assert.That(ImageDecoder.Decode(file).Pixels, Is.EqualTo((byte[])[244, 224, 204]));
        Assert.That(ImageDecoder.Decode(file, Goldens.AsStored).Pixels, Is.EqualTo((byte[])[200, 100, 0]));
    }

    [Test]
    public void Run_length_coding_of_bytes_decodes()
    {
        // A run; a literal with its padding and a run cut off at the edge; a jump by (2, 2); a run; the end.
        byte[] body = [3, 1, 0, 0, 0, 3, 1, 2, 3, 0, 2, 2, 0, 0, 0, 2, 2, 1, 1, 3, 0, 1];
        byte[] file = new BmpMaker(4, 5, 8) { Compression = 1, Palette = Colours }.File(body);
        Assert.That(ImageDecoder.Decode(file).Pixels, Is.EqualTo(Paint("0000" + "0030" + "0000" + "1232" + "1110", Colours)));
    }

    [Test]
    public void Run_length_coding_of_nibbles_decodes()
    {
        byte[] file = new BmpMaker(6, 1, 4) { Compression = 2, Palette = Colours }.File([3, 0x12, 0, 1]);
        Assert.That(ImageDecoder.Decode(file).Pixels, Is.EqualTo(Paint("121000", Colours)));
    }

    [Test]
    public void Nibble_literals_are_padded_to_words()
    {
        byte[] file = new BmpMaker(6, 1, 4) { Compression = 2, Palette = Colours }.File([0, 5, 0x12, 0x31, 0x20, 0, 1, 0x30, 0, 1]);
        Assert.That(ImageDecoder.Decode(file).Pixels, Is.EqualTo(Paint("123123", Colours)));
    }

    private static IEnumerable<TestCaseData> Wrong()
    {
        var rgb = new BmpMaker(2, 2, 24);
        var palette = new BmpMaker(1, 1, 8) { Palette = Colours };
        yield return Case("a size beyond the limits", (rgb with { Width = 65535, Height = 65535 }).File([0]), "limit");
        yield return Case("the lowest height", (rgb with { Height = int.MinValue }).File([0]), "claims");
        yield return Case("no width", (rgb with { Width = 0 }).File([0]), "claims");
        yield return Case("a size beyond the file", (rgb with { Width = 9000, Height = 9000 }).File([0]), "cut short");
        yield return Case("a size beyond the runs", (palette with { Width = 9000, Height = 9000, Compression = 1 }).File([0, 1]), "cut short");
        yield return Case("an unknown colour", palette.File([4, 0, 0, 0]), "colour 4 of a palette of 4");
        yield return Case("runs cut short", (palette with { Compression = 1 }).File([0]), "cut short");
        yield return Case("a literal cut short", (palette with { Compression = 1 }).File([0, 9, 1]), "cut short");
        yield return Case("5 bits", (rgb with { Bits = 5 }).File(new byte[99]), "5 bits");
        yield return Case("an embedded JPEG", (rgb with { Compression = 4 }).File(new byte[99]), "compression 4");
        yield return Case("a header of 44", (rgb with { HeaderBytes = 44 }).File(new byte[99]), "header of 44");
        yield return Case("a mask with a gap", (rgb with { Bits = 16, Compression = 3, Masks = [0xF0F0, 1, 2] }).File(new byte[99]), "gap");
        yield return Case("no palette", new BmpMaker(1, 1, 8).File([]), "palette");
        static TestCaseData Case(string name, byte[] file, string message) => new TestCaseData(file, message).SetArgDisplayNames(name);
    }

    [TestCaseSource(nameof(Wrong))]
    public void What_is_wrong_is_refused_with_a_reason(byte[] file, string message) =>
        Assert.That(() => ImageDecoder.Decode(file), Throws.TypeOf<ImageFormatException>().With.Message.Contains(message));

    [Test]
    public void A_file_cut_short_anywhere_is_refused()
    {
        byte[] file = new BmpMaker(3, 2, 32).File(new byte[24]);
        for (int length = 0; length < file.Length; length++)
            Assert.That(() => ImageDecoder.Decode(file.AsSpan(0, length)), Throws.TypeOf<ImageFormatException>(), $"{length} bytes");
    }

    // One digit a pixel: an entry of the palette.
    private static byte[] Paint(string entries, byte[] palette) =>
        [.. entries.SelectMany(e => palette.AsSpan((e - '0') * 3, 3).ToArray())];
}
