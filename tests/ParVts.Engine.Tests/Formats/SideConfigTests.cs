using System.Text;
using System.Text.Json;
using ParVts.Engine.Formats;

namespace ParVts.Engine.Tests.Formats;

/// <summary>The configs beside config.json.</summary>
public class SideConfigTests
{
    private static IEnumerable<TestCaseData> GoldenFolders()
    {
        bool any = false;
        foreach (string group in (string[])["backbones", "schedules"])
        {
            if (TestData.FindGolden(group) is not string root)
                continue;
            foreach (string config in Directory.EnumerateFiles(root, "config.json", SearchOption.AllDirectories).Order(StringComparer.Ordinal))
            {
                any = true;
                string folder = Path.GetDirectoryName(config)!;
                yield return new TestCaseData(folder).SetArgDisplayNames(group + "/" + Path.GetRelativePath(root, folder));
            }
        }

        if (!any)
            yield return new TestCaseData("").SetArgDisplayNames("golden models");
    }

    [TestCaseSource(nameof(GoldenFolders))]
    public void Golden_folders_read_as_JsonDocument_reads_them(string folder)
    {
        if (folder.Length == 0)
        {
            TestData.Golden("backbones");
            Assert.Ignore("the golden data holds no model");
        }

        GenerationConfig generation = GenerationConfig.Read(folder);
        using (JsonDocument document = Open(folder, "generation_config.json"))
        {
            Assert.That(generation.EosTokenIds, Is.EqualTo(new[] { document.RootElement.GetProperty("eos_token_id").GetInt32() }));
            Assert.That(generation.DoSample, Is.False);
        }

        PreprocessorConfig picture = PreprocessorConfig.Read(folder);
        using (JsonDocument document = Open(folder, "preprocessor_config.json"))
        {
            JsonElement root = document.RootElement;
            Assert.That(picture.ImageProcessorType, Is.EqualTo(root.GetProperty("image_processor_type").GetString()));
            if (root.TryGetProperty("size", out JsonElement size))
            {
                Assert.That(picture.ShortestEdge, Is.EqualTo(size.TryGetProperty("shortest_edge", out JsonElement edge) ? edge.GetInt32() : null));
                Assert.That(picture.Height, Is.EqualTo(size.TryGetProperty("height", out JsonElement height) ? height.GetInt32() : null));
            }

            Assert.That(picture.ImageMean, Is.EqualTo(root.GetProperty("image_mean").EnumerateArray().Select(value => value.GetDouble())));
            Assert.That(picture.ImageStd, Is.EqualTo(root.GetProperty("image_std").EnumerateArray().Select(value => value.GetDouble())));
            Assert.That(picture.DoCenterCrop, Is.EqualTo(root.TryGetProperty("do_center_crop", out JsonElement crop) && crop.GetBoolean()));
            if (picture.DoCenterCrop)
                Assert.That(picture.CropWidth, Is.EqualTo(root.GetProperty("crop_size").GetProperty("width").GetInt32()));
        }

        TokenizerConfig tokenizer = TokenizerConfig.Read(folder);
        using (JsonDocument document = Open(folder, "tokenizer_config.json"))
            Assert.That(tokenizer.EosToken, Is.EqualTo(document.RootElement.GetProperty("eos_token").GetString()));
        string template = Path.Combine(folder, "chat_template.jinja");
        if (File.Exists(template))
            Assert.That(tokenizer.ChatTemplate, Is.EqualTo(File.ReadAllText(template)));

        ProcessorConfig processor = ProcessorConfig.Read(folder);
        Assert.That(processor.ImageToken, Is.Not.Empty);
    }

    [TestCase("""{"eos_token_id":[2,7],"bos_token_id":1}""", "{}", 1, new[] { 2, 7 })]
    [TestCase(null, """{"eos_token_id":5,"bos_token_id":4}""", 4, new[] { 5 })]
    [TestCase("""{"eos_token_id":null}""", """{"model_type":"llava","text_config":{"eos_token_id":[8,9]}}""", 1, new[] { 8, 9 })]
    [TestCase("{}", """{"model_type":"llava"}""", 1, new[] { 2 })]
    [TestCase("""{"eos_token_id":-1,"bos_token_id":-1}""", """{"model_type":"llava","text_config":{"model_type":"qwen2"}}""", null, new int[0])]
    public void End_tokens_come_from_the_first_file_that_names_them(string? generation, string config, int? begin, int[] end)
    {
        using var folder = new TempFolder();
        if (generation is not null)
            folder.Write("generation_config.json", generation);
        folder.Write("config.json", config);
        GenerationConfig read = GenerationConfig.Read(folder.Path);
        Assert.That(read.BosTokenId, Is.EqualTo(begin));
        Assert.That(read.EosTokenIds, Is.EqualTo(end));
    }

    [Test]
    public void Sampling_settings_are_read()
    {
        GenerationConfig read = GenerationConfig.Parse(
            """{"do_sample":true,"temperature":0.5,"top_k":20,"top_p":0.75,"min_p":0.125,"repetition_penalty":1.25,"max_new_tokens":64,"pad_token_id":3}"""u8, "g");
        Assert.That(
            (read.DoSample, read.Temperature, read.TopK, read.TopP, read.MinP, read.RepetitionPenalty, read.MaxNewTokens, read.PadTokenId),
            Is.EqualTo((true, 0.5f, 20, 0.75f, 0.125f, 1.25f, 64, 3)));
    }

    [TestCase("""{"eos_token_id":"2"}""", "'eos_token_id': must be a token id or a list")]
    [TestCase("""{"eos_token_id":[2,null]}""", "'eos_token_id': must be a whole number")]
    [TestCase("""{"eos_token_id":-3}""", "'eos_token_id': is -3")]
    [TestCase("""{"bos_token_id":[1,2]}""", "'bos_token_id': must be one token id")]
    [TestCase("""{"temperature":-1}""", "'temperature'")]
    [TestCase("""{"top_p":1.5}""", "'top_p'")]
    [TestCase("""{"top_k":-1}""", "'top_k'")]
    [TestCase("""{"max_new_tokens":0}""", "'max_new_tokens'")]
    [TestCase("""{"do_sample":"yes"}""", "'do_sample': must be true or false")]
    public void Odd_generation_settings_are_named(string json, string expected) =>
        Assert.That(() => GenerationConfig.Parse(Encoding.UTF8.GetBytes(json), "g"), Throws.TypeOf<ModelFormatException>().With.Message.Contains(expected));

    [Test]
    public void An_empty_preprocessor_config_is_CLIPs()
    {
        PreprocessorConfig read = PreprocessorConfig.Parse("{}"u8, "p");
        Assert.That(
            (read.DoConvertRgb, read.DoResize, read.ShortestEdge, read.Height, read.Resample, read.DoCenterCrop, read.CropHeight, read.CropWidth),
            Is.EqualTo((true, true, 224, (int?)null, ResampleFilter.Bicubic, true, 224, 224)));
        Assert.That((read.DoRescale, read.RescaleFactor, read.DoNormalize, read.DoPad), Is.EqualTo((true, 1.0 / 255, true, false)));
        Assert.That(read.ImageMean, Is.EqualTo(new[] { 0.48145466, 0.4578275, 0.40821073 }));
    }

    [TestCase("""{"size":336,"crop_size":336}""", 336, null, null, 336)]
    [TestCase("""{"size":{"shortest_edge":336},"crop_size":{"height":300,"width":301}}""", 336, null, null, 301)]
    [TestCase("""{"size":{"height":336,"width":448}}""", null, 336, 448, 224)]
    public void Sizes_are_numbers_or_objects(string json, int? shortest, int? height, int? width, int cropWidth)
    {
        PreprocessorConfig read = PreprocessorConfig.Parse(Encoding.UTF8.GetBytes(json), "p");
        Assert.That((read.ShortestEdge, read.Height, read.Width, read.CropWidth), Is.EqualTo((shortest, height, width, cropWidth)));
    }

    [TestCase("""{"size":{"height":336}}""", "'size': must have height and width")]
    [TestCase("""{"size":{"shortest_edge":336,"height":336,"width":336}}""", "'size': must have either")]
    [TestCase("""{"size":{"depth":3}}""", "'size': has the side 'depth'")]
    [TestCase("""{"size":0}""", "'size.shortest_edge': is 0")]
    [TestCase("""{"size":[336,336]}""", "'size': must be a number, or an object")]
    [TestCase("""{"crop_size":{"height":100000,"width":1}}""", "'crop_size.height': is 100000")]
    [TestCase("""{"resample":5}""", "'resample': is 5")]
    [TestCase("""{"image_mean":[0.5]}""", "'image_mean': has 1 numbers")]
    [TestCase("""{"image_mean":0.5}""", "'image_mean'")]
    [TestCase("""{"image_std":[0.5,0,0.5]}""", "'image_std': is 0")]
    [TestCase("""{"rescale_factor":0}""", "'rescale_factor'")]
    public void Odd_picture_settings_are_named(string json, string expected) =>
        Assert.That(() => PreprocessorConfig.Parse(Encoding.UTF8.GetBytes(json), "p"), Throws.TypeOf<ModelFormatException>().With.Message.Contains(expected));

    [Test]
    public void Picture_settings_may_lie_in_the_processors_file()
    {
        using var folder = new TempFolder();
        Assert.That(() => PreprocessorConfig.Read(folder.Path), Throws.TypeOf<ModelFormatException>().With.Message.Contains("image_processor in processor_config.json"));
        folder.Write("processor_config.json", """{"image_processor":{"size":7},"image_token":{"content":"<pic>"},"patch_size":14,"num_additional_image_tokens":1}""");
        Assert.That(PreprocessorConfig.Read(folder.Path).ShortestEdge, Is.EqualTo(7));
        ProcessorConfig processor = ProcessorConfig.Read(folder.Path);
        Assert.That((processor.ImageToken, processor.PatchSize, processor.NumAdditionalImageTokens), Is.EqualTo(("<pic>", 14, 1)));
        folder.Write("preprocessor_config.json", """{"size":8}""");
        Assert.That(PreprocessorConfig.Read(folder.Path).ShortestEdge, Is.EqualTo(8));
        folder.Write("processor_config.json", """{"image_processor":{"size":"7"}}""");
        Assert.That(() => ProcessorConfig.Read(folder.Path), Throws.TypeOf<ModelFormatException>().With.Message.Contains("'image_processor.size'"));
    }

    [Test]
    public void Tokens_are_texts_or_objects()
    {
        TokenizerConfig read = TokenizerConfig.Parse(
            """{"bos_token":{"__type":"AddedToken","content":"<s>","x":[1,{"content":"no"}]},"eos_token":"</s>","unk_token":null,"model_max_length":1000000000000000019884624838656}"""u8, "t");
        Assert.That((read.BosToken, read.EosToken, read.UnkToken, read.ModelMaxLength), Is.EqualTo(("<s>", "</s>", (string?)null, (int?)null)));
        Assert.That(TokenizerConfig.Parse("""{"model_max_length":4096}"""u8, "t").ModelMaxLength, Is.EqualTo(4096));
    }

    [Test]
    public void The_chat_template_is_found_in_its_order()
    {
        using var folder = new TempFolder();
        Assert.That(TokenizerConfig.Read(folder.Path).ChatTemplate, Is.Null);
        folder.Write("processor_config.json", """{"chat_template":"P"}""");
        Assert.That(TokenizerConfig.Read(folder.Path).ChatTemplate, Is.EqualTo("P"));
        folder.Write("tokenizer_config.json", """{"chat_template":[{"name":"tool_use","template":"T"},{"name":"default","template":"D"}]}""");
        Assert.That(TokenizerConfig.Read(folder.Path).ChatTemplate, Is.EqualTo("D"));
        folder.Write("chat_template.json", """{"chat_template":"J"}""");
        Assert.That(TokenizerConfig.Read(folder.Path).ChatTemplate, Is.EqualTo("J"));
        folder.Write("chat_template.jinja", "{{ x }}\n");
        Assert.That(TokenizerConfig.Read(folder.Path).ChatTemplate, Is.EqualTo("{{ x }}\n"));
        folder.Write("chat_template.jinja", [0xFF, 0xFE]);
        Assert.That(() => TokenizerConfig.Read(folder.Path), Throws.TypeOf<ModelFormatException>().With.Message.Contains("UTF-8"));
    }

    [TestCase("""{"bos_token":7}""", "'bos_token': must be a text")]
    [TestCase("""{"bos_token":{"text":"x"}}""", "'bos_token': must be a text, or an object")]
    [TestCase("""{"chat_template":7}""", "'chat_template': must be a text")]
    [TestCase("""{"chat_template":[{"name":"a"}]}""", "'chat_template': must be a text")]
    [TestCase("""{"chat_template":[{"name":"a","template":""},{"name":"a","template":""}]}""", "occurs twice")]
    [TestCase("""{"model_max_length":0}""", "'model_max_length'")]
    public void Odd_tokenizer_settings_are_named(string json, string expected) =>
        Assert.That(() => TokenizerConfig.Parse(Encoding.UTF8.GetBytes(json), "t"), Throws.TypeOf<ModelFormatException>().With.Message.Contains(expected));

    private static JsonDocument Open(string folder, string name) => JsonDocument.Parse(File.ReadAllBytes(Path.Combine(folder, name)));
}
