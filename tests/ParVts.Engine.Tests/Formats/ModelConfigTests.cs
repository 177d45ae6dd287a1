using System.Text;
using System.Text.Json.Nodes;
using ParVts.Engine.Formats;

namespace ParVts.Engine.Tests.Formats;

/// <summary>config.json: the defaults that public files rely on, both spellings of settings, and every refusal.</summary>
public class ModelConfigTests
{
    // As LLaVA-1.5-7B's public file has it, without what no reader needs.
    private const string Public = """
        {"architectures":["LlavaForConditionalGeneration"],"ignore_index":-100,"image_token_index":32000,"model_type":"llava","pad_token_id":32001,
         "projector_hidden_act":"gelu","text_config":{"_name_or_path":"lmsys/vicuna-7b-v1.5","architectures":["LlamaForCausalLM"],"max_position_embeddings":4096,
         "model_type":"llama","rms_norm_eps":1e-05,"torch_dtype":"float16","vocab_size":32064},"tie_word_embeddings":false,"torch_dtype":"float16",
         "vision_config":{"hidden_size":1024,"image_size":336,"intermediate_size":4096,"model_type":"clip_vision_model","num_attention_heads":16,"num_hidden_layers":24,
         "patch_size":14,"projection_dim":768,"vocab_size":32000},"vision_feature_layer":-2,"vision_feature_select_strategy":"default","vocab_size":32064}
        """;

    [Test]
    public void The_public_7B_file_has_the_librarys_defaults()
    {
        ModelConfig config = Parse(Public);
        Assert.That(config.Text, Is.EqualTo(new TextConfig
        {
            ModelType = "llama",
            HiddenSize = 4096,
            IntermediateSize = 11008,
            Layers = 32,
            Heads = 32,
            KeyValueHeads = 32,
            HeadDim = 128,
            VocabularySize = 32064,
            MaxPositions = 4096,
            NormEpsilon = 1e-5,
            Activation = Activation.Silu,
            Rope = new RopeConfig(10000) { OriginalMaxPositions = 4096 },
        }));
        Assert.That(config.Vision, Is.EqualTo(Tower336));
        Assert.That(config.VisionFeatureLayer, Is.EqualTo(23));
        Assert.That(config.ImageTokenId, Is.EqualTo(32000));
        Assert.That(config.ProjectorActivation, Is.EqualTo(Activation.Gelu));
        Assert.That(config.ProjectorBias, Is.True);
        Assert.That(config.TieWordEmbeddings, Is.False);
        Assert.That(config.VisualTokensPerImage, Is.EqualTo(576));
    }

    [Test]
    public void Without_sub_configs_they_are_LLaVAs_own()
    {
        ModelConfig config = Parse("""{"model_type":"llava"}""");
        Assert.That(config.Vision, Is.EqualTo(Tower336));
        Assert.That(config.Text.ModelType, Is.EqualTo("llama"));
        Assert.That((config.Text.VocabularySize, config.Text.MaxPositions, config.Text.NormEpsilon), Is.EqualTo((32000, 2048, 1e-6)));
        Assert.That(config.ImageTokenId, Is.EqualTo(32000));
    }

    [Test]
    public void An_empty_vision_config_has_the_defaults_of_CLIP()
    {
        VisionConfig vision = Parse("""{"model_type":"llava","vision_config":{}}""").Vision;
        Assert.That(
            (vision.HiddenSize, vision.IntermediateSize, vision.Layers, vision.Heads, vision.ImageSize, vision.PatchSize, vision.NormEpsilon, vision.Activation),
            Is.EqualTo((768, 3072, 12, 12, 224, 32, 1e-5, Activation.QuickGelu)));
    }

    [TestCase("llama", 32000, 11008, 32, 2048, false)]
    [TestCase("qwen2", 151936, 22016, 32, 32768, true)]
    [TestCase("mistral", 32000, 14336, 8, 131072, false)]
    public void Each_decoder_has_its_own_defaults(string type, int vocabulary, int intermediate, int keyValueHeads, int positions, bool bias)
    {
        TextConfig text = Parse($$"""{"model_type":"llava","text_config":{"model_type":"{{type}}","sliding_window":null} }""").Text;
        Assert.That(
            (text.VocabularySize, text.IntermediateSize, text.KeyValueHeads, text.MaxPositions, text.QkvBias, text.OutputBias),
            Is.EqualTo((vocabulary, intermediate, keyValueHeads, positions, bias, false)));
    }

    [TestCase("""{"rope_theta":500000.0,"rope_scaling":null}""", 500000, RopeScaling.Default, 1)]
    [TestCase("""{"rope_theta":500000.0,"rope_scaling":{"type":"linear","factor":2.0}}""", 500000, RopeScaling.Linear, 2)]
    [TestCase("""{"rope_parameters":{"rope_theta":500000.0,"rope_type":"dynamic","factor":4}}""", 500000, RopeScaling.Dynamic, 4)]
    [TestCase("""{"rope_parameters":{"rope_type":"default"},"rope_theta":3e5}""", 300000, RopeScaling.Default, 1)]
    public void Both_spellings_of_rotary_settings_are_read(string text, double theta, RopeScaling scaling, double factor)
    {
        RopeConfig rope = Parse($$"""{"model_type":"llava","text_config":{{text}} }""").Text.Rope;
        Assert.That(rope, Is.EqualTo(new RopeConfig(theta) { Scaling = scaling, Factor = factor, OriginalMaxPositions = 2048 }));
    }

    [Test]
    public void Llama3_scaling_is_read()
    {
        RopeConfig rope = Parse("""
            {"model_type":"llava","text_config":{"rope_theta":500000.0,"max_position_embeddings":131072,"rope_scaling":
              {"rope_type":"llama3","factor":8.0,"low_freq_factor":1.5,"high_freq_factor":5.0,"original_max_position_embeddings":8192}}}
            """).Text.Rope;
        Assert.That(rope, Is.EqualTo(new RopeConfig(500000)
        {
            Scaling = RopeScaling.Llama3,
            Factor = 8,
            LowFrequencyFactor = 1.5,
            HighFrequencyFactor = 5,
            OriginalMaxPositions = 8192,
        }));
    }

    [TestCase("""{"vision_feature_layer":-1}""", 24)]
    [TestCase("""{"vision_feature_layer":0}""", 0)]
    [TestCase("""{"vision_feature_layer":24}""", 24)]
    [TestCase("""{"vision_feature_layer":-25}""", 0)]
    public void The_feature_layer_counts_from_either_end(string change, int expected) =>
        Assert.That(Parse(Changed(change)).VisionFeatureLayer, Is.EqualTo(expected));

    [TestCase("""{"tie_word_embeddings":true}""", true)]
    [TestCase("""{"text_config":{"tie_word_embeddings":true}}""", true)]
    [TestCase("""{"tie_word_embeddings":false,"text_config":{"tie_word_embeddings":false}}""", false)]
    [TestCase("""{"tie_word_embeddings":null}""", false)]
    public void The_head_is_tied_where_either_place_says_so(string change, bool expected) =>
        Assert.That(Parse(Changed(change)).TieWordEmbeddings, Is.EqualTo(expected));

    [TestCase("""{"text_config":{"attention_bias":true,"mlp_bias":true}}""", true, true, true)]
    [TestCase("""{"text_config":{"model_type":"qwen2","attention_bias":true}}""", true, false, false)]
    public void Biases_follow_the_family(string change, bool qkv, bool output, bool mlp)
    {
        TextConfig text = Parse(Changed(change)).Text;
        Assert.That((text.QkvBias, text.OutputBias, text.MlpBias), Is.EqualTo((qkv, output, mlp)));
    }

    [Test]
    public void The_image_token_may_be_called_id() =>
        Assert.That(Parse("""{"model_type":"llava","image_token_id":7}""").ImageTokenId, Is.EqualTo(7));

    [TestCase("""{"model_type":"llava_next"}""", "'model_type': 'llava_next' is not supported; supported is llava")]
    [TestCase("""{"model_type":null}""", "'model_type': is missing")]
    [TestCase("""{"architectures":["LlavaLlamaForCausalLM"]}""", "must be converted")]
    [TestCase("""{"quantization_config":{"bits":4}}""", "quantized checkpoints are not supported")]
    [TestCase("""{"text_config":{"model_type":"gemma"}}""", "supported are llama, mistral, qwen2")]
    [TestCase("""{"vision_config":{"model_type":"vit"}}""", "supported are clip_vision_model, siglip_vision_model")]
    [TestCase("""{"vision_feature_layer":[-2,-5]}""", "is a list")]
    [TestCase("""{"vision_feature_layer":25}""", "'vision_feature_layer': is 25")]
    [TestCase("""{"vision_feature_layer":-26}""", "'vision_feature_layer': is -26")]
    [TestCase("""{"vision_feature_layer":"-2"}""", "'vision_feature_layer': must be a whole number")]
    [TestCase("""{"vision_feature_select_strategy":"half"}""", "must be 'default' or 'full'")]
    [TestCase("""{"projector_hidden_act":"mish"}""", "supported are silu, swish, gelu")]
    [TestCase("""{"image_token_index":-1}""", "'image_token_index': is -1")]
    [TestCase("""{"text_config":7}""", "'text_config'")]
    [TestCase("""{"text_config":{"hidden_size":"4096"}}""", "'text_config.hidden_size': must be a whole number")]
    [TestCase("""{"text_config":{"hidden_size":4096.5}}""", "'text_config.hidden_size': must be a whole number")]
    [TestCase("""{"text_config":{"hidden_size":0}}""", "'text_config.hidden_size': is 0")]
    [TestCase("""{"text_config":{"hidden_size":2147483647}}""", "'text_config.hidden_size': is 2147483647")]
    [TestCase("""{"text_config":{"hidden_size":99999999999}}""", "'text_config.hidden_size': must be a whole number")]
    [TestCase("""{"text_config":{"intermediate_size":-1}}""", "'text_config.intermediate_size': is -1")]
    [TestCase("""{"text_config":{"num_hidden_layers":1000000}}""", "'text_config.num_hidden_layers'")]
    [TestCase("""{"text_config":{"num_attention_heads":3}}""", "no multiple of the 3 attention heads")]
    [TestCase("""{"text_config":{"num_key_value_heads":5}}""", "'text_config.num_key_value_heads': is 5, which does not divide")]
    [TestCase("""{"text_config":{"num_key_value_heads":64}}""", "'text_config.num_key_value_heads': is 64")]
    [TestCase("""{"text_config":{"num_key_value_heads":[8]}}""", "'text_config.num_key_value_heads': must be")]
    [TestCase("""{"text_config":{"head_dim":33}}""", "'text_config.head_dim': is 33")]
    [TestCase("""{"text_config":{"vocab_size":0}}""", "'text_config.vocab_size'")]
    [TestCase("""{"text_config":{"rms_norm_eps":"x"}}""", "'text_config.rms_norm_eps': must be a finite number")]
    [TestCase("""{"text_config":{"rms_norm_eps":-1}}""", "'text_config.rms_norm_eps': is -1")]
    [TestCase("""{"text_config":{"hidden_act":"mish"}}""", "'text_config.hidden_act': the activation 'mish'")]
    [TestCase("""{"text_config":{"attention_bias":1}}""", "'text_config.attention_bias': must be true or false")]
    [TestCase("""{"text_config":{"rope_theta":0}}""", "'text_config.rope_theta': is 0")]
    [TestCase("""{"text_config":{"rope_scaling":{"type":"yarn","factor":4.0}}}""", "the scaling 'yarn' is not supported")]
    [TestCase("""{"text_config":{"rope_scaling":{"type":"mrope","mrope_section":[16,24,24]}}}""", "the scaling 'mrope' is not supported")]
    [TestCase("""{"text_config":{"rope_parameters":{"rope_type":"longrope"}}}""", "'text_config.rope_parameters.rope_type': the scaling 'longrope'")]
    [TestCase("""{"text_config":{"rope_scaling":{"type":"linear"}}}""", "'text_config.rope_scaling.factor': is missing")]
    [TestCase("""{"text_config":{"rope_scaling":{"type":"linear","factor":0}}}""", "'text_config.rope_scaling.factor': is 0")]
    [TestCase("""{"text_config":{"rope_scaling":{"rope_type":"llama3","factor":8}}}""", "low_freq_factor': is missing")]
    [TestCase("""{"text_config":{"rope_scaling":"linear"}}""", "'text_config.rope_scaling'")]
    [TestCase("""{"text_config":{"partial_rotary_factor":0.5}}""", "rotating a part of each head")]
    [TestCase("""{"text_config":{"model_type":"mistral","num_key_value_heads":8,"max_position_embeddings":32768}}""", "the window is 4096, the context 32768")]
    [TestCase("""{"text_config":{"model_type":"qwen2","use_sliding_window":true,"sliding_window":1024}}""", "the window is 1024")]
    [TestCase("""{"vision_config":{"image_size":335}}""", "no multiple of the patch size, 14")]
    [TestCase("""{"vision_config":{"hidden_size":1023}}""", "no multiple of the 16 attention heads")]
    [TestCase("""{"vision_config":{"image_size":1000000}}""", "'vision_config.image_size'")]
    [TestCase("""{"vision_config":{"num_channels":1}}""", "'vision_config.num_channels'")]
    [TestCase("""{"vision_config":{"hidden_act":"mish"}}""", "'vision_config.hidden_act'")]
    public void What_is_wrong_or_not_supported_is_named(string change, string expected) =>
        Assert.That(() => Parse(Changed(change)), Throws.TypeOf<ModelFormatException>().With.Message.Contains(expected).And.Message.StartsWith("config.json: '"));

    [TestCase("""{"text_config":{"model_type":"mistral","num_key_value_heads":8,"sliding_window":null}}""")]
    [TestCase("""{"text_config":{"model_type":"mistral","num_key_value_heads":8,"sliding_window":4096}}""")]
    [TestCase("""{"text_config":{"model_type":"qwen2","use_sliding_window":false,"sliding_window":1024}}""")]
    [TestCase("""{"text_config":{"model_type":"llama","sliding_window":1024}}""")]
    public void A_window_that_hides_nothing_is_ignored(string change) => Assert.That(() => Parse(Changed(change)), Throws.Nothing);

    [TestCase("", "not valid JSON")]
    [TestCase("null", "holds null")]
    [TestCase("[]", "not valid JSON of the kind")]
    [TestCase("{\"model_type\":\"llava\"", "not valid JSON")]
    [TestCase("{\"model_type\":\"llava\"} {}", "not valid JSON")]
    [TestCase("{\"model_type\":\"llava\",\"model_type\":\"llava\"}", "'model_type': occurs twice")]
    [TestCase("{\"model_type\":\"llava\",\"text_config\":{\"hidden_size\":1,\"hidden_size\":2}}", "'hidden_size': occurs twice")]
    [TestCase("{\"model_type\":\"\\ud800\"}", "not valid JSON")]
    [TestCase("{\"model_type\":NaN}", "not valid JSON")]
    public void Broken_JSON_is_refused(string json, string expected) =>
        Assert.That(() => Parse(json), Throws.TypeOf<ModelFormatException>().With.Message.Contains(expected));

    [Test]
    public void A_missing_file_is_named()
    {
        using var folder = new TempFolder();
        Assert.That(() => ModelConfigReader.Read(folder.Path), Throws.TypeOf<ModelFormatException>().With.Message.EqualTo($"{folder.File("config.json")}: is not there; a model folder must hold it"));
    }

    [Test]
    public void A_byte_order_mark_is_passed_over()
    {
        using var folder = new TempFolder();
        folder.Write("config.json", "\uFEFF" + Public);
        Assert.That(() => ModelConfigReader.Read(folder.Path), Throws.Nothing);
    }

    private static VisionConfig Tower336 => new()
    {
        HiddenSize = 1024,
        IntermediateSize = 4096,
        Layers = 24,
        Heads = 16,
        ImageSize = 336,
        PatchSize = 14,
        NormEpsilon = 1e-5,
        Activation = Activation.QuickGelu,
    };

    private static ModelConfig Parse(string json) => ModelConfigReader.Parse(Encoding.UTF8.GetBytes(json), "config.json");

    /// <summary>The public file with some properties set anew.</summary>
    private static string Changed(string change)
    {
        JsonObject config = JsonNode.Parse(Public)!.AsObject();
        Merge(config, JsonNode.Parse(change)!.AsObject());
        return config.ToJsonString();
    }

    private static void Merge(JsonObject into, JsonObject from)
    {
        foreach ((string name, JsonNode? value) in from)
        {
            if (value is JsonObject inner && into[name] is JsonObject old)
                Merge(old, inner);
            else
                into[name] = value?.DeepClone();
        }
    }
}
