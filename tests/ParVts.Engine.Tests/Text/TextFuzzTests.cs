using System.Diagnostics;
using System.Text;
using ParVts.Engine.Tests.Fuzz;
using ParVts.Engine.Text;

namespace ParVts.Engine.Tests.Text;

/// <summary>Damaged tokenizer files, templates and prompts: an answer or a typed error, within a second.</summary>
public class TextFuzzTests
{
    private const string LlamaLike = """
        {"added_tokens":[{"id":0,"content":"<unk>","special":true,"normalized":false},{"id":1,"content":"<s>","special":true,"lstrip":true},
        {"id":9,"content":"<image>","special":true,"rstrip":true,"single_word":true}],
        "normalizer":{"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"_"},{"type":"Replace","pattern":{"String":" "},"content":"_"},{"type":"NFKC"}]},
        "pre_tokenizer":{"type":"Metaspace","replacement":"_","prepend_scheme":"first","split":true},
        "post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>","type_id":0}},{"Sequence":{"id":"A","type_id":0}}],
        "special_tokens":{"<s>":{"id":"<s>","ids":[1],"tokens":["<s>"]}}},
        "decoder":{"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"_"},"content":" "},{"type":"ByteFallback"},{"type":"Fuse"},{"type":"Strip","content":" ","start":1,"stop":0}]},
        "model":{"type":"BPE","unk_token":"<unk>","fuse_unk":true,"byte_fallback":true,"vocab":{"<unk>":0,"<s>":1,"a":2,"b":3,"_":4,"ab":5,"_a":6,"<0x41>":7,"<0xE2>":8},"merges":["a b",["_","a"]]}}
        """;

    private const string ByteLevelLike = """
        {"added_tokens":[{"id":5,"content":"<|end|>","special":true}],"normalizer":{"type":"NFC"},
        "pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"\\p{L}+|\\s+|."},"behavior":"MergedWithNext","invert":false},
        {"type":"ByteLevel","add_prefix_space":true,"use_regex":true}]},"post_processor":{"type":"ByteLevel"},"decoder":{"type":"ByteLevel"},
        "model":{"type":"BPE","vocab":{"a":0,"b":1,"Ġ":2,"Ġa":3,"ab":4},"merges":["Ġ a","a b"]}}
        """;

    private static int Count => TestData.Full ? 250_000 : 25_000;

    [Test]
    public void Damaged_tokenizer_files_and_prompts()
    {
        byte[][] seeds = [Encoding.UTF8.GetBytes(LlamaLike), Encoding.UTF8.GetBytes(ByteLevelLike)];
        Tokenizer[] whole = [.. seeds.Select(seed => Tokenizer.Parse(seed, "seed"))];
        var random = new Random(20261);
        int opened = Run(Count, seeds, random, bytes =>
        {
            Tokenizer tokenizer = Tokenizer.Parse(bytes, "fuzz");
            UseIt(tokenizer, "<s>ab a\u00e9 <image>b \ud83d\ude00<|end|>");
        });
        byte[][] prompts = [Encoding.UTF8.GetBytes("<s> a b  ab\u00e9<image> <|end|>\n\n 12'll \ud83d\ude00 \u1100\u1161 e\u0301\u0323")];
        int encoded = Run(Count, prompts, random, bytes =>
        {
            foreach (Tokenizer tokenizer in whole)
                UseIt(tokenizer, Encoding.Unicode.GetString(bytes));
        });
        Assert.That(opened, Is.GreaterThan(Count / 50), "some damaged files still open");
        Assert.That(encoded, Is.EqualTo(Count), "every text can be encoded");
    }

    [Test]
    public void Damaged_templates()
    {
        byte[][] seeds = [.. ChatTemplate.BuiltInNames.Select(name => Encoding.UTF8.GetBytes(BuiltInTemplates.All[name]))];
        ChatMessage[] messages =
        [
            new("system", [ChatPart.OfText("be kind")]), new("user", [ChatPart.Image, ChatPart.OfText("what?")]),
            new("assistant", [ChatPart.OfText("a cat")]), new("user", [ChatPart.OfText("sure? \uE0F0")]),
        ];
        int rendered = Run(Count / 2, seeds, new Random(7), bytes =>
            ChatTemplate.Parse(Encoding.UTF8.GetString(bytes), "fuzz").RenderSegments(messages));
        Assert.That(rendered, Is.GreaterThan(Count / 200));
    }

    private static void UseIt(Tokenizer tokenizer, string text)
    {
        int[] ids = tokenizer.Encode(text);
        tokenizer.Encode(text, addSpecialTokens: false, specialTokensAsText: true);
        tokenizer.Decode(ids, skipSpecialTokens: true);
        Detokenizer stream = tokenizer.CreateDetokenizer();
        foreach (int id in ids)
            stream.Push(id);
        stream.Flush();
    }

    // How many inputs were taken; everything else must be a typed error, and nothing may take a second.
    private static int Run(int count, byte[][] seeds, Random random, Action<byte[]> use)
    {
        int taken = 0;
        for (int i = 0; i < count; i++)
        {
            byte[] input = Mutator.Mutate(seeds[i % seeds.Length], random);
            long start = Stopwatch.GetTimestamp();
            try
            {
                use(input);
                taken++;
            }
            catch (ParVtsException)
            {
                // What hostile input is answered with.
            }
            catch (Exception error)
            {
                Assert.Fail($"input {i}, {Convert.ToBase64String(input)}: {error}");
            }

            Assert.That(Stopwatch.GetElapsedTime(start).TotalSeconds, Is.LessThan(1), $"seconds for input {i}, {Convert.ToBase64String(input)}");
        }

        return taken;
    }
}
