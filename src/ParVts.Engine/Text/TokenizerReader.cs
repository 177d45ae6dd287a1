using System.IO.Compression;
using System.Text.Json;
using System.Text.RegularExpressions;

namespace ParVts.Engine.Text;

/// <summary>Reads tokenizer.json into a tokenizer's parts. What is not supported is an error that names it.</summary>
internal sealed partial class TokenizerReader
{
    private const long LongestFile = 256L << 20;
    private const int LongestSequence = 64;
    private static readonly TimeSpan s_matchTimeout = TimeSpan.FromSeconds(1);

    private readonly string _file;

    private TokenizerReader(string file) => _file = file;

    /// <summary>The tokenizer's file in a folder, or null.</summary>
    public static string? Find(string directory) =>
        new[] { "tokenizer.json", "tokenizer.json.gz" }.Select(name => Path.Combine(directory, name)).FirstOrDefault(File.Exists);

    public static TokenizerParts Load(string fileOrDirectory)
    {
        string file = fileOrDirectory;
        if (Directory.Exists(fileOrDirectory))
        {
            file = Find(fileOrDirectory)
                ?? throw new ModelFormatException(fileOrDirectory, null, "has no tokenizer.json; put the model's tokenizer.json there");
        }

        return Parse(ReadAll(file), file);
    }

    public static TokenizerParts Parse(ReadOnlyMemory<byte> utf8Json, string file)
    {
        try
        {
            using JsonDocument json = JsonDocument.Parse(utf8Json);
            return new TokenizerReader(file).Read(json.RootElement);
        }
        catch (JsonException error)
        {
            throw new ModelFormatException(file, null, $"is not valid JSON: {error.Message}", error);
        }
        catch (InvalidOperationException error)
        {
            // A string with an unpaired surrogate escape cannot be read as text.
            throw new ModelFormatException(file, null, $"holds a text that is not valid Unicode: {error.Message}", error);
        }
    }

    private static byte[] ReadAll(string file)
    {
        try
        {
            using FileStream stream = File.OpenRead(file);
            using Stream unpacked = file.EndsWith(".gz", StringComparison.OrdinalIgnoreCase)
                ? new GZipStream(stream, CompressionMode.Decompress)
                : stream;
            using var memory = new MemoryStream();
            byte[] buffer = new byte[1 << 16];
            for (int count = unpacked.Read(buffer); count > 0; count = unpacked.Read(buffer))
            {
                memory.Write(buffer, 0, count);
                if (memory.Length > LongestFile)
                    throw new ModelFormatException(file, null, $"is larger than {LongestFile >> 20} MiB");
            }

            return memory.ToArray();
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException or InvalidDataException)
        {
            throw new ModelFormatException(file, null, $"cannot be read: {error.Message}", error);
        }
    }

    private TokenizerParts Read(JsonElement root)
    {
        RequireObject(root, "the file");
        JsonElement model = Get(root, "model") ?? throw Fail("model", "is missing");
        Dictionary<string, int> vocabulary = ReadVocabulary(model);
        AddedToken[] added = ReadAdded(root);
        (int[] prefix, int[] suffix) = ReadPostProcessor(Get(root, "post_processor"), 0);
        return new TokenizerParts(
            vocabulary,
            ReadModel(model, vocabulary),
            added,
            Get(root, "normalizer") is JsonElement normalizer ? ReadNormalizer(normalizer, 0) : null,
            Get(root, "pre_tokenizer") is JsonElement preTokenizer ? ReadPreTokenizer(preTokenizer, 0) : null,
            prefix,
            suffix,
            Get(root, "decoder") is JsonElement decoder ? ReadDecoder(decoder) : null);
    }

    private Dictionary<string, int> ReadVocabulary(JsonElement model)
    {
        RequireObject(model, "model");
        string type = Text(model, "type", "model") ?? "BPE";
        if (type != "BPE")
            throw Unsupported("model", type, "BPE");
        JsonElement vocab = Get(model, "vocab") ?? throw Fail("model.vocab", "is missing");
        RequireObject(vocab, "model.vocab");
        var vocabulary = new Dictionary<string, int>();
        foreach (JsonProperty entry in vocab.EnumerateObject())
            vocabulary[entry.Name] = Id(entry.Value, "model.vocab");
        return vocabulary;
    }

    private Bpe ReadModel(JsonElement model, Dictionary<string, int> vocabulary)
    {
        foreach (string name in new[] { "continuing_subword_prefix", "end_of_word_suffix" })
        {
            if (!string.IsNullOrEmpty(Text(model, name, "model")))
                throw Fail("model." + name, "is not supported; only an empty one is");
        }

        if (Get(model, "dropout") is JsonElement dropout && !(dropout.ValueKind == JsonValueKind.Number && dropout.GetDouble() == 0))
            throw Fail("model.dropout", "is for training; only null or 0 is supported");
        string? unknownToken = Text(model, "unk_token", "model");
        int? unknown = null;
        if (unknownToken is not null && vocabulary.TryGetValue(unknownToken, out int id))
            unknown = id;
        return new Bpe(
            vocabulary,
            ReadMerges(model, vocabulary),
            Flag(model, "byte_fallback", false),
            unknown,
            Flag(model, "fuse_unk", false),
            Flag(model, "ignore_merges", false));
    }

    // Both spellings: "a b", and ["a", "b"].
    private Dictionary<long, (int Rank, int Merged)> ReadMerges(JsonElement model, Dictionary<string, int> vocabulary)
    {
        var merges = new Dictionary<long, (int, int)>();
        if (Get(model, "merges") is not JsonElement list)
            return merges;
        RequireArray(list, "model.merges");
        int rank = 0;
        foreach (JsonElement entry in list.EnumerateArray())
        {
            (string left, string right) = ReadMerge(entry, rank);
            if (!vocabulary.TryGetValue(left, out int leftId)
                || !vocabulary.TryGetValue(right, out int rightId)
                || !vocabulary.TryGetValue(left + right, out int merged))
            {
                throw Fail("model.merges", $"number {rank} ('{Shorten(left)}', '{Shorten(right)}') names a token that is not in the vocabulary");
            }

            merges[Bpe.Pair(leftId, rightId)] = (rank++, merged);
        }

        return merges;
    }

    private (string Left, string Right) ReadMerge(JsonElement entry, int rank)
    {
        if (entry.ValueKind == JsonValueKind.String)
        {
            string text = entry.GetString()!;
            int space = text.IndexOf(' ');
            if (space >= 0 && text.IndexOf(' ', space + 1) < 0)
                return (text[..space], text[(space + 1)..]);
        }
        else if (entry.ValueKind == JsonValueKind.Array && entry.GetArrayLength() == 2
            && entry[0].ValueKind == JsonValueKind.String && entry[1].ValueKind == JsonValueKind.String)
        {
            return (entry[0].GetString()!, entry[1].GetString()!);
        }

        throw Fail("model.merges", $"number {rank} is neither \"left right\" nor [\"left\", \"right\"]");
    }

    private AddedToken[] ReadAdded(JsonElement root)
    {
        if (Get(root, "added_tokens") is not JsonElement list)
            return [];
        RequireArray(list, "added_tokens");
        return [.. list.EnumerateArray().Select(entry =>
        {
            RequireObject(entry, "added_tokens");
            return new AddedToken(
                Id(Get(entry, "id") ?? throw Fail("added_tokens.id", "is missing"), "added_tokens.id"),
                Text(entry, "content", "added_tokens") ?? throw Fail("added_tokens.content", "is missing"),
                Flag(entry, "single_word", false),
                Flag(entry, "lstrip", false),
                Flag(entry, "rstrip", false),
                Flag(entry, "normalized", true),
                Flag(entry, "special", false));
        })];
    }

    private Normalizer ReadNormalizer(JsonElement element, int depth)
    {
        string type = Type(element, "normalizer");
        switch (type)
        {
            case "Sequence":
                return new NormalizerSequence([.. Steps(element, "normalizers", "normalizer", depth).Select(step => ReadNormalizer(step, depth + 1))]);
            case "Prepend":
                return new PrependNormalizer(RequiredText(element, "prepend", "normalizer"));
            case "Replace":
                (string? literal, string? regex) = Pattern(element, "normalizer");
                string content = RequiredText(element, "content", "normalizer");
                return literal is not null
                    ? new ReplaceNormalizer(literal, content)
                    : new RegexReplaceNormalizer(Compile(regex!, "normalizer"), content);
            case "NFC" or "NFD" or "NFKC" or "NFKD":
                return new UnicodeNormalizer(type.EndsWith('C'), type.Contains('K'));
            case "Lowercase":
                return new LowercaseNormalizer();
            case "Strip":
                return new StripNormalizer(Flag(element, "strip_left", true), Flag(element, "strip_right", true));
            default:
                throw Unsupported("normalizer", type, "Sequence, Prepend, Replace, NFC, NFD, NFKC, NFKD, Lowercase, Strip");
        }
    }

    private PreTokenizer ReadPreTokenizer(JsonElement element, int depth)
    {
        string type = Type(element, "pre_tokenizer");
        switch (type)
        {
            case "Sequence":
                return new PreTokenizerSequence(
                    [.. Steps(element, "pretokenizers", "pre_tokenizer", depth).Select(step => ReadPreTokenizer(step, depth + 1))]);
            case "Metaspace":
                return new MetaspacePreTokenizer(Metaspace(element), Scheme(element, "pre_tokenizer"), Flag(element, "split", true));
            case "ByteLevel":
                return new ByteLevelPreTokenizer(Flag(element, "add_prefix_space", true), Flag(element, "use_regex", true));
            case "Split":
                return ReadSplit(element);
            default:
                throw Unsupported("pre_tokenizer", type, "Sequence, Metaspace, ByteLevel, Split");
        }
    }

    private PreTokenizer ReadSplit(JsonElement element)
    {
        (string? literal, string? regex) = Pattern(element, "pre_tokenizer");
        string behavior = RequiredText(element, "behavior", "pre_tokenizer");
        if (!Enum.TryParse(behavior, out SplitBehavior parsed) || !Enum.IsDefined(parsed) || char.IsAsciiDigit(behavior[0]))
            throw Unsupported("pre_tokenizer.behavior", behavior, string.Join(", ", Enum.GetNames<SplitBehavior>()));
        bool invert = Flag(element, "invert", false);
        if (regex is not null && parsed == SplitBehavior.Isolated && !invert && SplitPattern.Find(regex) is SplitPattern known)
            return new KnownSplitPreTokenizer(known);
        return new RegexSplitPreTokenizer(Compile(regex ?? Regex.Escape(literal!), "pre_tokenizer"), parsed, invert);
    }

    // Only what stands before and behind the sequence matters: a single text is all that is ever encoded.
    private (int[] Prefix, int[] Suffix) ReadPostProcessor(JsonElement? element, int depth)
    {
        if (element is not JsonElement processor)
            return ([], []);
        string type = Type(processor, "post_processor");
        if (type == "ByteLevel")
            return ([], []);
        if (type == "Sequence")
        {
            var parts = Steps(processor, "processors", "post_processor", depth)
                .Select(step => ReadPostProcessor(step, depth + 1)).ToList();
            return ([.. parts.AsEnumerable().Reverse().SelectMany(part => part.Prefix)], [.. parts.SelectMany(part => part.Suffix)]);
        }

        if (type != "TemplateProcessing")
            throw Unsupported("post_processor", type, "Sequence, ByteLevel, TemplateProcessing");
        return ReadTemplate(processor);
    }

    private (int[] Prefix, int[] Suffix) ReadTemplate(JsonElement processor)
    {
        JsonElement single = Get(processor, "single") ?? throw Fail("post_processor.single", "is missing");
        RequireArray(single, "post_processor.single");
        var prefix = new List<int>();
        var suffix = new List<int>();
        bool behind = false;
        foreach (JsonElement piece in single.EnumerateArray())
        {
            RequireObject(piece, "post_processor.single");
            if (Get(piece, "Sequence") is not null)
            {
                behind = true;
                continue;
            }

            JsonElement special = Get(piece, "SpecialToken")
                ?? throw Fail("post_processor.single", "holds a piece that is neither Sequence nor SpecialToken");
            RequireObject(special, "post_processor.single");
            string name = RequiredText(special, "id", "post_processor.single");
            (behind ? suffix : prefix).AddRange(SpecialIds(processor, name));
        }

        return ([.. prefix], [.. suffix]);
    }

    private IEnumerable<int> SpecialIds(JsonElement processor, string name)
    {
        if (Get(processor, "special_tokens") is JsonElement tokens && tokens.ValueKind == JsonValueKind.Object
            && Get(tokens, name) is JsonElement token && token.ValueKind == JsonValueKind.Object
            && Get(token, "ids") is JsonElement ids && ids.ValueKind == JsonValueKind.Array)
        {
            return [.. ids.EnumerateArray().Select(id => Id(id, "post_processor.special_tokens"))];
        }

        throw Fail("post_processor.special_tokens", $"has no ids for '{Shorten(name)}'");
    }

    private TokenDecoder ReadDecoder(JsonElement element, int depth = 0)
    {
        string type = Type(element, "decoder");
        switch (type)
        {
            case "Sequence" when depth == 0:
                return new DecoderSequence([.. Steps(element, "decoders", "decoder", depth).Select(step => ReadDecoder(step, depth + 1))]);
            case "Replace":
                (string? literal, _) = Pattern(element, "decoder");
                if (string.IsNullOrEmpty(literal))
                    throw Unsupported("decoder.pattern", "Regex", "String");
                return new ReplaceDecoder(literal, RequiredText(element, "content", "decoder"));
            case "ByteFallback":
                return new ByteFallbackDecoder();
            case "Fuse":
                return new FuseDecoder();
            case "Strip":
                string content = RequiredText(element, "content", "decoder");
                if (content.Length != 1)
                    throw Fail("decoder.content", "must be one character");
                return new StripDecoder(content[0], Count(element, "start"), Count(element, "stop"));
            case "Metaspace":
                return new MetaspaceDecoder(Metaspace(element), Scheme(element, "decoder"));
            case "ByteLevel":
                return new ByteLevelDecoder();
            default:
                throw Unsupported("decoder", type, "Sequence (not nested), Replace, ByteFallback, Fuse, Strip, Metaspace, ByteLevel");
        }
    }

    private string Metaspace(JsonElement element)
    {
        string replacement = Text(element, "replacement", "Metaspace") ?? "\u2581";
        return replacement.Length == 1 ? replacement : throw Fail("replacement", "must be one character");
    }

    private PrependScheme Scheme(JsonElement element, string where) => Text(element, "prepend_scheme", where) switch
    {
        null => Flag(element, "add_prefix_space", true) ? PrependScheme.Always : PrependScheme.Never,
        "first" => PrependScheme.First,
        "always" => PrependScheme.Always,
        "never" => PrependScheme.Never,
        string other => throw Unsupported(where + ".prepend_scheme", other, "first, always, never"),
    };

    private (string? Literal, string? Regex) Pattern(JsonElement element, string where)
    {
        JsonElement pattern = Get(element, "pattern") ?? throw Fail(where + ".pattern", "is missing");
        RequireObject(pattern, where + ".pattern");
        string? literal = Text(pattern, "String", where);
        string? regex = Text(pattern, "Regex", where);
        return literal is null && regex is null ? throw Fail(where + ".pattern", "has neither String nor Regex") : (literal, regex);
    }

    private Regex Compile(string pattern, string where)
    {
        try
        {
            return new Regex(pattern, RegexOptions.CultureInvariant, s_matchTimeout);
        }
        catch (ArgumentException error)
        {
            throw Fail(where + ".pattern", $"is a regular expression that cannot be read: {error.Message}");
        }
    }

    private List<JsonElement> Steps(JsonElement element, string name, string where, int depth)
    {
        JsonElement list = Get(element, name) ?? throw Fail($"{where}.{name}", "is missing");
        RequireArray(list, $"{where}.{name}");
        if (depth > 4 || list.GetArrayLength() > LongestSequence)
            throw Fail($"{where}.{name}", $"has more than {LongestSequence} steps, or is nested too deeply");
        return [.. list.EnumerateArray()];
    }

    private string Type(JsonElement element, string where)
    {
        RequireObject(element, where);
        return RequiredText(element, "type", where);
    }
}
