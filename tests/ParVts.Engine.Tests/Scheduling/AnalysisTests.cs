using System.Text.Json;
using ParVts.Engine.Generation;
using ParVts.Engine.Imaging;
using ParVts.Engine.Scheduling;

namespace ParVts.Engine.Tests.Scheduling;

/// <summary>What an analysis measures: VisiPruner's figures, of every layer and under any policy.</summary>
public class AnalysisTests
{
    private const string GoldenFolder = "schedules";

    // As the golden data's README states for cosines; norms are of the same size.
    private const double Tolerance = 1e-5;

    [Test]
    public void Figures_are_those_of_the_equations([Range(1, 4)] int seed)
    {
        using var model = new TinyModel(seed);
        Prompt prompt = model.Prompt(images: 1 + seed % 2);
        var analysis = new AnalysisPolicy(PolicyRegistry.Create("dense"));
        Run run = model.Run(prompt, analysis);
        Assert.That(analysis.Figures.Select(figures => figures.Layer), Is.EqualTo(Enumerable.Range(0, model.Layers)));
        Assert.Multiple(() =>
        {
            foreach (LayerFigures figures in analysis.Figures)
                Check(figures, new LayerTruth(model, figures.Layer, run.Hidden[figures.Layer]), run.Hidden[figures.Layer].Rows);
        });
    }

    [TestCaseSource(nameof(Cases))]
    public void Figures_are_the_references(string file)
    {
        string folder = Path.GetDirectoryName(file)!;
        using JsonDocument json = JsonDocument.Parse(File.ReadAllText(file));
        JsonElement about = json.RootElement;
        using var golden = new GoldenFile(Path.ChangeExtension(file, ".safetensors"));
        using VlmEngine engine = VlmEngine.Open(Path.Combine(folder, about.GetProperty("model").GetString()!));
        PromptImage image = engine.PrepareImage(ImageDecoder.Load(Path.Combine(folder, about.GetProperty("image").GetString()!)));
        Prompt prompt = engine.CreatePrompt([.. about.GetProperty("input_ids").EnumerateArray().Select(id => id.GetInt32())], [image]);
        var analysis = new AnalysisPolicy(PolicyRegistry.Create(about.GetProperty("policy").GetString()!));
        using Session session = engine.CreateSession(analysis);
        session.Generate(prompt, new GenerationOptions { MaxTokens = 1 });
        int probed = 0;
        Assert.Multiple(() =>
        {
            foreach (LayerFigures figures in analysis.Figures.Where(figures => golden.Has($"probe.{figures.Layer}.cos")))
            {
                probed++;
                float[] norms = golden.Floats($"probe.{figures.Layer}.norm");
                Assert.That(figures.Visual, Is.EqualTo(norms.Length), $"layer {figures.Layer}");
                Assert.That(figures.Deviation, Is.EqualTo(1.0 - golden.Floats($"probe.{figures.Layer}.cos").Min()).Within(Tolerance), $"layer {figures.Layer}");
                Assert.That(figures.LargestNorm, Is.EqualTo(norms.Max()).Within(Tolerance).Or.EqualTo(norms.Max()).Within(0.01).Percent, $"layer {figures.Layer}");
                Assert.That(figures.MeanNorm, Is.EqualTo(norms.Average()).Within(Tolerance).Or.EqualTo(norms.Average()).Within(0.01).Percent, $"layer {figures.Layer}");
            }

            // A layer that masks values has no such figures; its probabilities count all the same.
            Assert.That(analysis.Figures[0].Deviation, Is.Null);
            Assert.That(analysis.Figures[0].LastMass, Is.InRange(0.001, 1));
            Assert.That(analysis.Figures.Where(figures => figures.Visual == 0), Is.All.Matches<LayerFigures>(figures => figures is { LastMass: 0, TextMass: 0, Deviation: null }));
        });
        Assert.That(probed, Is.EqualTo(golden.Names.Count(name => name.EndsWith(".cos", StringComparison.Ordinal))).And.Positive, "layers compared");
    }

    // Fusions, probes of their own, frozen rows, rows that leave, merge or change who sees whom.
    [TestCase("dense")]
    [TestCase("parvts:keep=4,migrate=1,fuse=lse")]
    [TestCase("fastv:layer=1,keep=4")]
    [TestCase("vtw:layer=1")]
    [TestCase("visipruner:shallow=0,tcos=1,tnorm=0")]
    [TestCase("shortv:layers=0/1")]
    [TestCase("sparsevlm:layers=1,keep=4")]
    [TestCase("dart:layer=1,keep=8,visual_pivots=2,text_pivots=2")]
    [TestCase("yopo:window=3,cut=1")]
    [TestCase("tome:merge=1")]
    [TestCase("knockout:from=0,to=1")]
    public void Measuring_changes_nothing(string policy)
    {
        using var model = new TinyModel(5);
        Prompt prompt = model.Prompt();
        var analysis = new AnalysisPolicy(PolicyRegistry.Create(policy));
        Run measured = model.Run(prompt, analysis, 3);
        Run plain = model.Run(prompt, policy, 3);
        Assert.That(measured.Logits, Is.EqualTo(plain.Logits));
        Assert.That(measured.Result.Trace.KvRowsByLayer, Is.EqualTo(plain.Result.Trace.KvRowsByLayer));
        Assert.That(measured.Result.Trace.FlopsCountedByLayer, Is.EqualTo(plain.Result.Trace.FlopsCountedByLayer));
        Assert.That(measured.Result.Trace.Events.Select(done => done.Kind), Is.EqualTo(plain.Result.Trace.Events.Select(done => done.Kind)));
        Assert.That(analysis.Figures, Has.Count.EqualTo(model.Layers));
        Assert.That(analysis.Figures.Select(figures => figures.LastMass), Is.All.InRange(0, 1));
    }

    private static IEnumerable<TestCaseData> Cases()
    {
        string? folder = TestData.FindGolden(GoldenFolder);
        string[] files = folder is null ? [] : Directory.GetFiles(folder, "visipruner-*.json");
        if (files.Length == 0)
            yield return new TestCaseData("").SetName(nameof(Figures_are_the_references)).Ignore("goldens/schedules has no case of visipruner here");
        foreach (string file in files.Order(StringComparer.Ordinal))
            yield return new TestCaseData(file).SetName($"{nameof(Figures_are_the_references)}({Path.GetFileNameWithoutExtension(file)})");
    }

    // By what the figures mean, not by the closed form.
    private static void Check(LayerFigures figures, LayerTruth truth, Row[] rows)
    {
        int last = rows.Length - 1;
        int[] visual = [.. Enumerable.Range(0, rows.Length).Where(row => rows[row].Role == RowRole.Visual)];
        int[] text = [.. Enumerable.Range(0, rows.Length).Where(row => rows[row].Role == RowRole.Text)];
        double[][] seen = truth.Probabilities(last, _ => true);
        double[] output = [.. Enumerable.Range(0, rows.Length).Select(key => truth.Adds(seen, key)).Aggregate((a, b) => [.. a.Zip(b).Select(pair => pair.First + pair.Second)])];
        double[][] adds = [.. visual.Select(key => truth.Adds(seen, key))];
        string layer = $"layer {figures.Layer}";
        Assert.That(figures.Visual, Is.EqualTo(visual.Length), layer);
        Assert.That(figures.LastMass, Is.EqualTo(Mass(seen, visual)).Within(Tolerance), layer);
        Assert.That(figures.TextMass, Is.EqualTo(text.Average(row => Mass(truth.Probabilities(row, _ => true), visual))).Within(Tolerance), layer);
        Assert.That(figures.Deviation, Is.EqualTo(1 - adds.Min(add => Cosine(output, [.. output.Zip(add).Select(pair => pair.First - pair.Second)]))).Within(Tolerance), layer);
        Assert.That(figures.LargestNorm, Is.EqualTo(adds.Max(Length)).Within(Tolerance), layer);
        Assert.That(figures.MeanNorm, Is.EqualTo(adds.Average(Length)).Within(Tolerance), layer);
    }

    private static double Mass(double[][] probabilities, int[] keys) => probabilities.Average(head => keys.Sum(key => head[key]));

    private static double Length(double[] a) => Math.Sqrt(a.Sum(value => value * value));

    private static double Cosine(double[] a, double[] b) => a.Zip(b).Sum(pair => pair.First * pair.Second) / (Length(a) * Length(b));
}
