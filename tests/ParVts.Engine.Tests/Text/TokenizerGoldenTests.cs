using System.Text.Json;
using ParVts.Engine.Text;

namespace ParVts.Engine.Tests.Text;

/// <summary>Every folder of goldens/tokenizers against Hugging Face's tokenizers library: exact, every case.</summary>
public class TokenizerGoldenTests
{
    [TestCaseSource(nameof(Folders))]
    public void Ids_and_texts_equal_the_library(string folder)
    {
        Tokenizer tokenizer = Load(folder);
        int cases = 0;
        Assert.Multiple(() =>
        {
            foreach (JsonElement entry in Json(folder, "cases.json").EnumerateArray())
            {
                cases++;
                string text = entry.GetProperty("text").GetString()!;
                string label = JsonSerializer.Serialize(text.Length > 60 ? text[..60] : text);
                Assert.That(tokenizer.Encode(text), Is.EqualTo(Ids(entry, "ids")), "ids of " + label);
                int[] bare = tokenizer.Encode(text, addSpecialTokens: false);
                Assert.That(bare, Is.EqualTo(Ids(entry, "ids_without_special")), "ids_without_special of " + label);
                Assert.That(tokenizer.Decode(bare), Is.EqualTo(entry.GetProperty("decoded").GetString()), "decoded " + label);
                Assert.That(
                    tokenizer.Decode(bare, skipSpecialTokens: true),
                    Is.EqualTo(entry.GetProperty("decoded_skip_special").GetString()), "decoded_skip_special " + label);
                if (entry.TryGetProperty("ids_special_tokens_as_text", out _))
                {
                    Assert.That(
                        tokenizer.Encode(text, addSpecialTokens: false, specialTokensAsText: true),
                        Is.EqualTo(Ids(entry, "ids_special_tokens_as_text")), "ids_special_tokens_as_text of " + label);
                }
            }
        });
        Assert.That(cases, Is.GreaterThan(0));
    }

    [TestCaseSource(nameof(Folders))]
    public void Streamed_pieces_equal_the_library(string folder)
    {
        Tokenizer tokenizer = Load(folder);
        Assert.Multiple(() =>
        {
            foreach (JsonElement entry in Json(folder, "streaming.json").EnumerateArray())
            {
                int[] ids = Ids(entry, "ids");
                Detokenizer stream = tokenizer.CreateDetokenizer(entry.GetProperty("skip_special_tokens").GetBoolean());
                string[] pieces = [.. ids.Select(id => stream.Push(id).ToString())];
                string flush = stream.Flush().ToString();
                string label = "ids " + string.Join(' ', ids);
                if (entry.GetProperty("flush").ValueKind == JsonValueKind.Null)
                    continue; // The library itself takes back what it gave out: only that nothing fails is asked.
                Assert.That(pieces, Is.EqualTo(entry.GetProperty("pieces").EnumerateArray().Select(piece => piece.GetString())), label);
                Assert.That(flush, Is.EqualTo(entry.GetProperty("flush").GetString()), label);
                Assert.That(string.Concat(pieces) + flush, Is.EqualTo(entry.GetProperty("full").GetString()), label);
            }
        });
    }

    [Test]
    public void Tokenizers_of_all_checkpoints_load_and_round_trip()
    {
        string root = TestData.Golden("backbones");
        foreach (string folder in Directory.GetDirectories(root).Where(Tokenizer.Exists))
        {
            Tokenizer tokenizer = Tokenizer.Load(folder);
            Assert.That(tokenizer.Decode(tokenizer.Encode("What is in the picture?"), skipSpecialTokens: true), Is.EqualTo("What is in the picture?"), folder);
        }
    }

    [Test]
    public void A_warm_detokenizer_allocates_nothing()
    {
        string folder = Folders().Select(data => (string)data.Arguments[0]!).First(name => name.Contains("llama", StringComparison.Ordinal));
        Tokenizer tokenizer = Load(folder);
        int[] ids = [.. tokenizer.Encode("A cat, a dög and 日本語 😀."), 243, 162, 155];
        Detokenizer stream = tokenizer.CreateDetokenizer();
        int length = 0;
        long before = 0;
        for (int round = 0; round < 3; round++)
        {
            stream.Reset();
            before = GC.GetAllocatedBytesForCurrentThread();
            foreach (int id in ids)
                length += stream.Push(id).Length;
            length += stream.Flush().Length;
        }

        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.Zero);
        Assert.That(length, Is.GreaterThan(60));
    }

    internal static IEnumerable<TestCaseData> Folders()
    {
        string? root = TestData.FindGolden("tokenizers");
        foreach (string folder in root is null ? [] : Directory.GetDirectories(root).Order().ToArray())
            yield return new TestCaseData(folder).SetArgDisplayNames(Path.GetFileName(folder));
    }

    internal static Tokenizer Load(string folder)
    {
        if (Tokenizer.Exists(folder))
            return Tokenizer.Load(folder);

        // The demo model's tokenizer lies with the model.
        string beside = Path.Combine(folder, "..", "..", "..", "demo-model", "tokenizer.json");
        string own = TestData.Own("demo-model/model/tokenizer.json");
        string? file = new[] { beside, own }.FirstOrDefault(File.Exists);
        if (file is null || Path.GetFileName(folder) != "demo")
            Assert.Ignore($"'{folder}' holds no tokenizer.json");
        return Tokenizer.Load(file!);
    }

    private static JsonElement Json(string folder, string name)
    {
        string file = Path.Combine(folder, name);
        if (!File.Exists(file))
            Assert.Ignore($"'{file}' is not here");
        return JsonDocument.Parse(File.ReadAllText(file)).RootElement;
    }

    private static int[] Ids(JsonElement entry, string name) => [.. entry.GetProperty(name).EnumerateArray().Select(id => id.GetInt32())];
}
