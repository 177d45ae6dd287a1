using System.Text.Json;
using ParVts.Engine.Generation;
using ParVts.Engine.Imaging;
using ParVts.Engine.Tests;

namespace ParVts.Gpu.Tests.EndToEnd;

/// <summary>
/// Whole checkpoints by contract C5's rule for the GPU: logits along the golden tokens at most twice as far from float32 as
/// the reference implementation's own bfloat16 run of the case, which is recorded beside it.
/// </summary>
internal class BackboneTests
{
    // A case of more rows than these takes most of a minute on the simulated GPU.
    private const int MostRows = 1000;

    private readonly Dictionary<string, DeviceModel> _models = [];

    [OneTimeTearDown]
    public void Close()
    {
        foreach (DeviceModel model in _models.Values)
            model.Dispose();
    }

    [TestCaseSource(nameof(Cases))]
    public void Logits_are_as_near_to_float32_as_bfloat16_allows(string folder, string file)
    {
        if (!_models.TryGetValue(folder, out DeviceModel? model))
            _models[folder] = model = new DeviceModel(folder);
        using JsonDocument json = JsonDocument.Parse(File.ReadAllText(file));
        JsonElement about = json.RootElement;
        using var golden = new GoldenFile(Path.ChangeExtension(file, ".safetensors"));
        List<PromptImage> images = [.. about.GetProperty("images").EnumerateArray().Select(name => model.Engine.PrepareImage(ImageDecoder.Load(
            TestData.Golden(Path.Combine("images", name.GetString()!)), new ImageDecodeOptions { ApplyOrientation = false })))];
        Prompt prompt = model.Engine.CreateRawPrompt(about.GetProperty("prompt").GetString()!, images);

        using Session session = model.Engine.CreateSession();
        int[] tokens = golden.Integers("new_tokens");
        int own = 0;
        float[] logits = TeacherForcing.Logits(model.Engine, session, prompt, tokens, first => own = first.Tokens.Count);

        double bfloat16 = about.GetProperty("bfloat16_run").GetProperty("largest_logit_difference").GetDouble();
        double distance = GoldenFile.Distance(golden.Floats("logits"), logits);
        TestContext.Out.WriteLine($"{distance:0.####} from float32; the bfloat16 run {bfloat16:0.####}; {own} tokens before the first other choice");
        Assert.That(distance, Is.LessThanOrEqualTo(2 * bfloat16));
    }

    // LLaVA-1.5 in every naming and with grouped heads, of the project's own data and of the larger set where it is there.
    private static IEnumerable<TestCaseData> Cases()
    {
        string? root = TestData.FindGolden("backbones");
        foreach (string folder in root is null ? [] : Directory.GetDirectories(root, "llava-1.5*").Order().ToArray())
        {
            string source = folder;
            string sameAs = Path.Combine(folder, "same-as.json");
            if (File.Exists(sameAs))
            {
                using JsonDocument json = JsonDocument.Parse(File.ReadAllText(sameAs));
                source = Path.Combine(root!, json.RootElement.GetProperty("cases_of").GetString()!);
            }

            foreach (string file in Directory.GetFiles(source, "case-*.json").Order())
            {
                using JsonDocument json = JsonDocument.Parse(File.ReadAllText(file));
                int rows = json.RootElement.GetProperty("input_length").GetInt32();
                var data = new TestCaseData(folder, file) { TestName = $"Device backbone {Path.GetFileName(folder)} {Path.GetFileNameWithoutExtension(file)}" };

                // Of weights under other names one short case says enough.
                bool all = TestData.Full || TestGpu.IsReal;
                yield return all || rows <= (source == folder ? MostRows : 100) ? data : data.Ignore($"{rows} rows: only with --full");
            }
        }
    }
}
