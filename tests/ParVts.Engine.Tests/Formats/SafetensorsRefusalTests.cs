using System.Diagnostics;
using System.Text;
using ParVts.Engine.Formats;
using static ParVts.Engine.Tests.Formats.SafetensorsBytes;

namespace ParVts.Engine.Tests.Formats;

/// <summary>Every way in which a header can be wrong is refused, by name, before a tensor is handed out.</summary>
public class SafetensorsRefusalTests
{
    private static IEnumerable<TestCaseData> Headers()
    {
        static TestCaseData Case(string name, string header, int dataLength, string expected) =>
            new TestCaseData(header, dataLength, expected).SetArgDisplayNames(name);

        string a = Entry("a", "F32", "[2]", 0, 8);
        yield return Case("no object", "[]", 0, "does not begin with '{'");
        yield return Case("leading space", " {}", 0, "does not begin with '{'");
        yield return Case("empty", "", 0, "does not begin with '{'");
        yield return Case("not closed", "{" + a, 8, "not valid JSON");
        yield return Case("something behind", "{" + a + "}x", 8, "not valid JSON");
        yield return Case("comment", "{/**/" + a + "}", 8, "not valid JSON");
        yield return Case("lone surrogate in a name", "{" + Entry("\\ud800", "F32", "[2]", 0, 8) + "}", 8, "not valid JSON");
        yield return Case("deep nesting", "{\"a\":{\"x\":" + new string('[', 100_000), 0, "not valid JSON");
        yield return Case("duplicate name", "{" + a + "," + Entry("a", "F32", "[2]", 8, 16) + "}", 16, "'a': occurs twice");
        yield return Case("duplicate name, escaped", "{" + a + "," + Entry("\\u0061", "F32", "[2]", 8, 16) + "}", 16, "'a': occurs twice");
        yield return Case("duplicate metadata", "{\"__metadata__\":{},\"__metadata__\":{}}", 0, "'__metadata__': occurs twice");
        yield return Case("duplicate metadata key", "{\"__metadata__\":{\"k\":\"1\",\"k\":\"2\"}}", 0, "'k' occurs twice");
        yield return Case("metadata is a text", "{\"__metadata__\":\"pt\"}", 0, "must be an object of texts");
        yield return Case("metadata holds a number", "{\"__metadata__\":{\"k\":1}}", 0, "the value of 'k' must be a text");
        yield return Case("tensor is a number", "{\"a\":1}", 0, "'a': must be an object");
        yield return Case("unknown type", "{" + Entry("a", "F33", "[2]", 0, 8) + "}", 8, "'a': the dtype 'F33' is unknown; known are F4,");
        yield return Case("lower-case type", "{" + Entry("a", "f32", "[2]", 0, 8) + "}", 8, "the dtype 'f32' is unknown");
        yield return Case("type is a number", "{\"a\":{\"dtype\":1,\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "dtype must be a text");
        yield return Case("type twice", "{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "has dtype twice");
        yield return Case("shape twice", "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "has shape twice");
        yield return Case("offsets twice", "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8],\"data_offsets\":[0,8]}}", 8, "has data_offsets twice");
        yield return Case("no type", "{\"a\":{\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "has no dtype");
        yield return Case("no shape", "{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,8]}}", 8, "has no shape");
        yield return Case("no offsets", "{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8, "has no data_offsets");
        yield return Case("one offset", "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8]}}", 8, "must be two numbers");
        yield return Case("three offsets", "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8,8]}}", 8, "more than 2 numbers");
        yield return Case("negative extent", "{" + Entry("a", "F32", "[-2]", 0, 8) + "}", 8, "shape must be whole numbers");
        yield return Case("fraction", "{" + Entry("a", "F32", "[2.0]", 0, 8) + "}", 8, "shape must be whole numbers");
        yield return Case("extent beyond 64 bits", "{" + Entry("a", "F32", "[18446744073709551618]", 0, 8) + "}", 8, "shape must be whole numbers");
        yield return Case("size wraps to the right value", "{" + Entry("a", "F32", "[4611686018427387904,4,2]", 0, 8) + "}", 8, "is too large");
        yield return Case("size wraps, with a zero", "{" + Entry("a", "F32", "[4611686018427387904,4,0]", 0, 0) + "}", 0, "is too large");
        yield return Case("bytes overflow", "{" + Entry("a", "F32", "[9223372036854775807]", 0, 8) + "}", 8, "is too large");
        yield return Case("too many axes", "{" + Entry("a", "F32", "[" + string.Join(",", Enumerable.Repeat(1, 65)) + "]", 0, 4) + "}", 4, "more than 64");
        yield return Case("half a byte", "{" + Entry("a", "F4", "[3]", 0, 2) + "}", 2, "does not fill whole bytes");
        yield return Case("6 bits", "{" + Entry("a", "F6_E2M3", "[3]", 0, 3) + "}", 3, "does not fill whole bytes");
        yield return Case("negative offset", "{" + Entry("a", "F32", "[2]", -8, 0) + "}", 8, "data_offsets must be whole numbers");
        yield return Case("begin behind end", "{" + Entry("a", "F32", "[2]", 8, 0) + "}", 8, "behind its end");
        yield return Case("length differs from shape", "{" + Entry("a", "F32", "[3]", 0, 8) + "}", 8, "'a': F32 [3] takes 12 bytes, but its data_offsets hold 8");
        yield return Case("beyond the file", "{" + Entry("a", "F32", "[2]", 0, 8) + "}", 7, "'a': its data ends at byte 8, but the file holds only 7");
        yield return Case("beyond the file, near 2^63", "{" + Entry("a", "U8", "[1]", long.MaxValue - 1, long.MaxValue) + "}", 7, "'a': its data ends at byte 9223372036854775807");
        yield return Case("overlap", "{" + a + "," + Entry("b", "F32", "[2]", 4, 12) + "}", 12, "'b': its data overlaps that of 'a'");
        yield return Case("the same bytes twice", "{" + a + "," + Entry("b", "F32", "[2]", 0, 8) + "}", 8, "overlaps");
        yield return Case("hole", "{" + a + "," + Entry("b", "F32", "[2]", 12, 20) + "}", 20, "'b': 4 bytes in front of its data belong to no tensor");
        yield return Case("hole in front", "{" + Entry("a", "F32", "[2]", 4, 12) + "}", 12, "'a': 4 bytes in front");
        yield return Case("hole at the end", "{" + a + "}", 9, "1 bytes at the end belong to no tensor");
        yield return Case("empty tensor inside another", "{" + a + "," + Entry("b", "F32", "[0]", 4, 4) + "}", 8, "'b': its data overlaps that of 'a'");
    }

    [TestCaseSource(nameof(Headers))]
    public void A_wrong_header_is_refused_with_the_reason(string header, int dataLength, string expected)
    {
        using var folder = new TempFolder();
        string file = folder.Write("x.safetensors", Make(header, dataLength));
        Assert.That(() => SafetensorsFile.Open(file), Throws.TypeOf<ModelFormatException>().With.Message.Contains(expected).And.Message.StartsWith(file));
        Assert.That(() => SafetensorsFile.Open(file, map: false), Throws.TypeOf<ModelFormatException>().With.Message.Contains(expected));
    }

    [TestCase(0x7FFF_FFFF_FFFF_FFFFUL, "more than the format's limit")]
    [TestCase(0x7FFF_FFFF_FFFF_FFF8UL, "more than the format's limit")]
    [TestCase(0x8000_0000_0000_0000UL, "more than the format's limit")]
    [TestCase(ulong.MaxValue, "more than the format's limit")]
    [TestCase(ulong.MaxValue - 7, "more than the format's limit")]
    [TestCase(100_000_001UL, "more than the format's limit")]
    [TestCase(100_000_000UL, "it was cut short")]
    [TestCase(3UL, "it was cut short")]
    public void A_header_length_beyond_the_file_is_refused(ulong claimed, string expected)
    {
        using var folder = new TempFolder();
        string file = folder.Write("x.safetensors", Make(claimed, "{}"u8.ToArray(), 0));
        Assert.That(() => SafetensorsFile.Open(file), Throws.TypeOf<ModelFormatException>().With.Message.Contains(expected));
    }

    [Test]
    public void A_file_cut_short_anywhere_is_refused()
    {
        using var folder = new TempFolder();
        byte[] whole = Make("{" + Entry("a", "F32", "[2]", 0, 8) + "}", 8);
        for (int length = 0; length < whole.Length; length++)
        {
            string file = folder.Write("x.safetensors", whole[..length]);
            Assert.That(() => SafetensorsFile.Open(file), Throws.TypeOf<ModelFormatException>(), $"{length} bytes");
        }

        Assert.That(() => SafetensorsFile.Open(folder.Write("x.safetensors", whole)).Dispose(), Throws.Nothing);
    }

    [Test]
    public void A_header_that_is_not_UTF8_is_refused()
    {
        using var folder = new TempFolder();
        byte[] header = Encoding.Latin1.GetBytes("{" + Entry("\u00E9", "F32", "[2]", 0, 8) + "}");
        string file = folder.Write("x.safetensors", Make((ulong)header.Length, header, 8));
        Assert.That(() => SafetensorsFile.Open(file), Throws.TypeOf<ModelFormatException>().With.Message.Contains("UTF-8"));
    }

    [Test]
    public void A_missing_file_and_a_folder_are_refused()
    {
        using var folder = new TempFolder();
        Assert.That(() => SafetensorsFile.Open(folder.File("none.safetensors")), Throws.TypeOf<ModelFormatException>().With.Message.Contains("is not there"));
        Assert.That(() => SafetensorsFile.Open(folder.Path), Throws.TypeOf<ModelFormatException>());
    }

    [TestCase(1 << 18, null)]
    [TestCase((1 << 18) + 1, "has more than 262144 tensors")]
    public void The_number_of_tensors_is_bounded_and_many_open_in_good_time(int count, string? expected)
    {
        var text = new StringBuilder("{");
        for (int i = 0; i < count; i++)
            text.Append(i == 0 ? "" : ",").Append(Entry($"model.layers.{i}.weight", "U8", "[0]", 0, 0));
        byte[] header = Encoding.ASCII.GetBytes(text.Append('}').ToString());
        long allocated = GC.GetAllocatedBytesForCurrentThread();
        long start = Stopwatch.GetTimestamp();
        if (expected is null)
            Assert.That(SafetensorsHeader.Parse(header, 0, "x").Entries, Has.Count.EqualTo(count));
        else
            Assert.That(() => SafetensorsHeader.Parse(header, 0, "x"), Throws.TypeOf<ModelFormatException>().With.Message.Contains(expected));
        TestContext.Out.WriteLine($"{header.Length} bytes in {Stopwatch.GetElapsedTime(start).TotalSeconds:F2} s");
        Assert.That(GC.GetAllocatedBytesForCurrentThread() - allocated, Is.LessThan(10L * header.Length));
    }

    [Test]
    public void The_number_of_metadata_is_bounded()
    {
        string texts = string.Join(",", Enumerable.Range(0, (1 << 16) + 1).Select(i => $"\"{i}\":\"\""));
        Assert.That(
            () => SafetensorsHeader.Parse(Encoding.ASCII.GetBytes($"{{\"__metadata__\":{{{texts}}}}}"), 0, "x"),
            Throws.TypeOf<ModelFormatException>().With.Message.Contains("more than 65536 texts"));
    }

    [TestCase("{}", 0, 0)]
    [TestCase("{}     \n", 0, 0)]
    [TestCase("{\"__metadata__\":{\"format\":\"pt\"}}", 0, 0)]
    [TestCase("{\"a\":{\"dtype\":\"F4\",\"shape\":[3,2],\"data_offsets\":[0,3]}}", 3, 1)]
    [TestCase("{\"a\":{\"dtype\":\"F6_E3M2\",\"shape\":[4],\"data_offsets\":[0,3]}}", 3, 1)]
    [TestCase("{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}", 4, 1)]
    [TestCase("{\"a\":{\"dtype\":\"F32\",\"shape\":[0,5],\"data_offsets\":[0,0]}}", 0, 1)]
    [TestCase("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1],\"later\":{\"x\":[1]}}}", 1, 1)]
    public void What_the_format_allows_opens(string header, int dataLength, int tensors)
    {
        using var folder = new TempFolder();
        using SafetensorsFile file = SafetensorsFile.Open(folder.Write("x.safetensors", Make(header, dataLength)));
        Assert.That(file.Tensors, Has.Count.EqualTo(tensors));
    }
}
