using System.Diagnostics;
using System.Text;
using ParVts.Engine.Formats;
using ParVts.Engine.Tests.Fuzz;

namespace ParVts.Engine.Tests.Formats;

/// <summary>
/// Damaged files: 25,000 in the normal run, 250,000 in the full one. Each either opens or raises a typed error, in under
/// a second and with bounded memory. An input is made again from the number in the message.
/// </summary>
public class FormatFuzzTests
{
    private const int PerKind = 2500;

    // The seeds have a few hundred bytes, and mutations add at most a few hundred.
    private const long MaxAllocation = 1 << 20;

    private static readonly int Scale = TestData.Full ? 10 : 1;

    private delegate void Reader(byte[] input);

    private static readonly (string Name, string Seed, Reader Read)[] JsonKinds =
    [
        ("config", """
            {"architectures":["LlavaForConditionalGeneration"],"image_token_index":32000,"model_type":"llava","projector_hidden_act":"gelu",
             "text_config":{"model_type":"mistral","max_position_embeddings":4096,"hidden_size":64,"num_attention_heads":2,"num_key_value_heads":1,"head_dim":32,"rms_norm_eps":1e-05,
              "rope_scaling":{"rope_type":"llama3","factor":8.0,"low_freq_factor":1.0,"high_freq_factor":4.0,"original_max_position_embeddings":8192},"sliding_window":null,
              "vocab_size":576,"tie_word_embeddings":false},
             "vision_config":{"hidden_size":64,"image_size":336,"num_attention_heads":2,"num_hidden_layers":6,"patch_size":14,"layer_norm_eps":1e-05},
             "vision_feature_layer":-2,"vision_feature_select_strategy":"default"}
            """, input => ModelConfigReader.Parse(input, "x")),
        ("generation", """
            {"bos_token_id":1,"eos_token_id":[2,3],"pad_token_id":0,"do_sample":true,"temperature":0.5,"top_k":50,"top_p":0.9,"min_p":0.1,"repetition_penalty":1.1,"max_new_tokens":20}
            """, input => GenerationConfig.Parse(input, "x")),
        ("preprocessor", """
            {"crop_size":{"height":336,"width":336},"do_center_crop":true,"do_resize":true,"image_mean":[0.48,0.45,0.40],"image_processor_type":"CLIPImageProcessor",
             "image_std":[0.26,0.26,0.27],"resample":3,"rescale_factor":0.00392156862745098,"size":{"shortest_edge":336}}
            """, input => PreprocessorConfig.Parse(input, "x")),
        ("processor", """
            {"image_processor":{"size":{"height":336,"width":336}},"image_token":{"content":"<image>"},"num_additional_image_tokens":1,"patch_size":14,"vision_feature_select_strategy":"default"}
            """, input => ProcessorConfig.Parse(input, "x")),
        ("tokenizer", """
            {"bos_token":{"content":"<s>","special":true,"list":[1,{"x":null}]},"eos_token":"</s>","add_bos_token":true,"model_max_length":1000000000000000019884624838656,
             "chat_template":[{"name":"default","template":"{{ x }}\n\u00e9"},{"name":"tool","template":""}],"tokenizer_class":"LlamaTokenizer"}
            """, input => TokenizerConfig.Parse(input, "x")),
    ];

    private static IEnumerable<TestCaseData> Kinds() =>
        JsonKinds.Select((kind, index) => new TestCaseData(index).SetArgDisplayNames(kind.Name));

    [TestCaseSource(nameof(Kinds))]
    public void Damaged_configs_open_or_are_refused(int kind) =>
        Run(Encoding.UTF8.GetBytes(JsonKinds[kind].Seed), PerKind * Scale, JsonKinds[kind].Read);

    [Test]
    public void Damaged_safetensors_open_consistently_or_are_refused() => Run(Safetensors(), 4 * PerKind * Scale, input =>
    {
        int headerLength = SafetensorsHeader.ReadLength(input, input.Length, "x");
        long dataLength = input.Length - SafetensorsHeader.PrefixLength - headerLength;
        var header = SafetensorsHeader.Parse(input.AsSpan(SafetensorsHeader.PrefixLength, headerLength), dataLength, "x");

        // What opens must keep what it promises: every tensor inside the data, together exactly all of it.
        long total = 0;
        foreach (SafetensorsHeader.Entry entry in header.Entries.Values)
        {
            if (entry.Begin < 0 || entry.End < entry.Begin || entry.End > dataLength)
                throw new InvalidDataException($"{entry.Name} lies outside the file");
            total += entry.End - entry.Begin;
        }

        if (total != dataLength)
            throw new InvalidDataException($"the tensors have {total} of {dataLength} bytes");
    });

    [Test]
    public void Damaged_files_on_disk_open_and_can_be_read_or_are_refused()
    {
        using var folder = new TempFolder();
        string path = folder.File("x.safetensors");
        int number = 0;
        Run(Safetensors(), PerKind / 2 * Scale, input =>
        {
            File.WriteAllBytes(path, input);
            using SafetensorsFile file = SafetensorsFile.Open(path, map: number++ % 2 == 0);
            foreach (StoredTensor tensor in file.Tensors.Values.Where(tensor => tensor.Type == TensorType.F32))
                tensor.ToFloats();
        });
    }

    [Test]
    public void Damaged_shard_indices_open_or_are_refused()
    {
        using var folder = new TempFolder();
        SafetensorsWriter.Write(folder.File("1.safetensors"), [TensorToWrite.Of("a", [1f])]);
        SafetensorsWriter.Write(folder.File("2.safetensors"), [TensorToWrite.Of("b", [1f])]);
        byte[] seed = """{"metadata":{"total_size":8},"weight_map":{"a":"1.safetensors","b":"2.safetensors"}}"""u8.ToArray();
        string index = folder.File(WeightFiles.IndexName);
        Run(seed, PerKind / 2 * Scale, input =>
        {
            File.WriteAllBytes(index, input);
            WeightFiles.Open(folder.Path).Dispose();
        });
    }

    private static void Run(byte[] seed, int count, Reader read)
    {
        Assert.That(() => read(seed), Throws.Nothing, "the undamaged seed");
        int opened = 0;
        int refused = 0;
        for (int number = 0; number < count; number++)
        {
            byte[] input = Mutator.Mutate(seed, new Random(number));
            long allocated = GC.GetAllocatedBytesForCurrentThread();
            long start = Stopwatch.GetTimestamp();
            try
            {
                read(input);
                opened++;
            }
            catch (ParVtsException e)
            {
                refused++;
                if (e.Message.Length > 4000)
                    Assert.Fail($"input {number}: a message of {e.Message.Length} characters");
            }
            catch (Exception e)
            {
                Assert.Fail($"input {number}: {e}\n{Convert.ToBase64String(input)}");
            }

            TimeSpan took = Stopwatch.GetElapsedTime(start);
            allocated = GC.GetAllocatedBytesForCurrentThread() - allocated;
            if (took > TimeSpan.FromSeconds(1) || allocated > MaxAllocation)
                Assert.Fail($"input {number}: {took.TotalSeconds:F2} s, {allocated} bytes\n{Convert.ToBase64String(input)}");
        }

        // Both ends are met, or the test looks at nothing.
        Assert.That(opened, Is.GreaterThan(count / 100), "inputs that open");
        Assert.That(refused, Is.GreaterThan(count / 4), "inputs that are refused");
        TestContext.Out.WriteLine($"{count} inputs: {opened} open, {refused} are refused");
    }

    private static byte[] Safetensors()
    {
        string header = "{\"__metadata__\":{\"format\":\"pt\"},"
            + SafetensorsBytes.Entry("model.embed.weight", "F32", "[4,2]", 0, 32) + ","
            + SafetensorsBytes.Entry("b", "BF16", "[2,2]", 32, 40) + ","
            + SafetensorsBytes.Entry("c", "F4", "[4]", 40, 42) + ","
            + SafetensorsBytes.Entry("empty", "I64", "[0,3]", 42, 42) + ","
            + SafetensorsBytes.Entry("scalar", "U8", "[]", 42, 43) + "}  ";
        return SafetensorsBytes.Make(header, 43);
    }
}
