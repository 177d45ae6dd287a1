using System.Text.Json;
using ParVts.Engine.Generation;
using ParVts.Engine.Imaging;
using ParVts.Engine.Scheduling;

namespace ParVts.Engine.Tests.Models;

/// <summary>
/// Schedules on the golden model, every case of goldens/schedules whose policy there is; the others are skipped by name.
/// </summary>
public class ScheduleGoldenTests
{
    private const double Tolerance = 1e-3;

    // Of the scores' span, as the golden data's README states.
    private const double ScoreTolerance = 1e-4;

    // Of cosines and merges, as there; spans of these may be next to nothing.
    private const double AbsoluteScoreTolerance = 1e-5;

    [TestCaseSource(nameof(Cases))]
    public void Choices_rows_flops_logits_and_tokens_equal_the_reference(string file)
    {
        string folder = Path.GetDirectoryName(file)!;
        using JsonDocument json = JsonDocument.Parse(File.ReadAllText(file));
        JsonElement about = json.RootElement;
        using var golden = new GoldenFile(Path.ChangeExtension(file, ".safetensors"));
        using VlmEngine engine = VlmEngine.Open(Path.Combine(folder, about.GetProperty("model").GetString()!));
        PromptImage image = engine.PrepareImage(ImageDecoder.Load(Path.Combine(folder, about.GetProperty("image").GetString()!)));
        Prompt prompt = engine.CreatePrompt(Integers(about, "input_ids"), [image]);
        int[] expected = Integers(about, "tokens");

        using Session session = engine.CreateSession(
            about.GetProperty("policy").GetString()!.Replace("heads=yopo", "heads=" + Path.Combine(folder, "yopo"), StringComparison.Ordinal));
        var logits = new List<float>();
        var lastRows = new Dictionary<string, float[]>();
        session.Sink = (stage, tensor) =>
        {
            if (stage == "logits")
                logits.AddRange(Download(engine, tensor));
            else if (stage.StartsWith("hidden.", StringComparison.Ordinal))
                KeepLastRows(engine, session, stage["hidden.".Length..], tensor, lastRows);
        };
        var lengths = new List<int[]>();
        session.OnStep = _ => lengths.Add([.. Enumerable.Range(0, session.Kv.Layers).Select(session.Kv.Length)]);
        GenerationResult result = session.Generate(
            prompt, new GenerationOptions { MaxTokens = expected.Length, IgnoreEndOfSequence = true });

        ScheduleTrace trace = result.Trace;
        Assert.Multiple(() =>
        {
            Assert.That(result.Tokens, Is.EqualTo(expected), "tokens");
            Assert.That(GoldenFile.Distance(golden.Floats("logits"), [.. logits]), Is.LessThanOrEqualTo(Tolerance), "logits");
            Assert.That(trace.Prefix, Is.EqualTo(about.GetProperty("prefix").GetInt32()), "prefix");
            Assert.That(trace.Visual, Is.EqualTo(about.GetProperty("patches").GetInt32()), "patches");
            Assert.That(trace.Text, Is.EqualTo(about.GetProperty("text").GetInt32()), "text");
            Assert.That(trace.KvRowsByLayer, Is.EqualTo(Integers(about, "kv_length")), "kv_length");
            Assert.That(trace.FlopsByLayer, Is.EqualTo(Longs(about, "flops_layer")), "flops_layer");
            Assert.That(trace.Flops, Is.EqualTo(about.GetProperty("flops").GetInt64()), "flops");
            Assert.That(
                Enumerable.Range(0, trace.FlopsByLayer.Length).Select(l => (double)trace.FlopsCountedByLayer[l] / trace.FlopsByLayer[l]),
                Is.All.InRange(0.99, 1.01), "what the operations counted");
            string[] names = [.. golden.Names.Where(name => name.StartsWith("last", StringComparison.Ordinal))];
            Assert.That(names, Is.Not.Empty);
            foreach (string name in names)
                Assert.That(GoldenFile.Distance(golden.Floats(name), lastRows.GetValueOrDefault(name)), Is.LessThanOrEqualTo(Tolerance), name);
            if (about.TryGetProperty("kv_length_decode", out JsonElement decoded) && decoded.ValueKind == JsonValueKind.Array)
            {
                Assert.That(
                    lengths.Skip(1).Select(step => string.Join(' ', step)),
                    Is.EqualTo(decoded.EnumerateArray().Select(step => string.Join(' ', step.EnumerateArray()))), "kv_length_decode");
            }

            CheckKept(about, trace);
            CheckDecisions(about, golden, trace);
        });
    }

    private static void CheckKept(JsonElement about, ScheduleTrace trace)
    {
        foreach (JsonElement kept in about.GetProperty("kept").EnumerateArray())
        {
            int layer = kept.GetProperty("layer").GetInt32();
            IReadOnlyList<int> actual = trace.KeptAt(Math.Max(0, layer));
            JsonElement visual = kept.GetProperty("visual");
            if (visual.ValueKind == JsonValueKind.String)
                Assert.That(actual, Is.EquivalentTo(Enumerable.Range(0, trace.Visual)), $"kept at {layer}");
            else
                Assert.That(actual, Is.EqualTo(Integers(kept, "visual")), $"kept at {layer}");
        }
    }

    private static void CheckDecisions(JsonElement about, GoldenFile golden, ScheduleTrace trace)
    {
        ScheduleEvent[] ranked = [.. trace.Events.Where(e => e.Scores.Count > 0)];
        JsonElement[] decisions = [.. about.GetProperty("decisions").EnumerateArray().Where(decision => IsOfPrefill(decision, trace))];
        Assert.That(ranked, Has.Length.EqualTo(decisions.Length), "decisions");
        foreach ((ScheduleEvent made, JsonElement decision) in ranked.Zip(decisions))
        {
            Assert.That(made.Layer, Is.EqualTo(Math.Max(0, decision.GetProperty("layer").GetInt32())), "layer of a decision");
            string what = decision.GetProperty("what").GetString()!;
            Assert.That(made.Subject ?? made.Chosen ?? made.Kept, Is.EqualTo(Integers(decision, "chosen")), what);
            float[] scores = golden.Floats(decision.GetProperty("scores").GetString()!);
            Assert.That(made.Ranked, Is.EqualTo(golden.Integers(decision.GetProperty("ids").GetString()!)), $"{what}: ids");
            float[] finite = [.. scores.Where(float.IsFinite)];
            Assert.That(
                Distance(scores, made.Scores),
                Is.LessThanOrEqualTo(Math.Max(AbsoluteScoreTolerance, ScoreTolerance * (finite.Max() - finite.Min()))), $"{what}: scores");
            Assert.That(made.Margin, Is.EqualTo(decision.GetProperty("gap").GetDouble()).Within(MarginTolerance(decision)), $"{what}: margin");
        }

        if (about.GetProperty("notes").TryGetProperty("w", out JsonElement weights))
        {
            ScheduleEvent fused = trace.Events.Single(e => e.Kind == ScheduleEventKind.Fuse);
            Assert.That(fused.Weights, Is.EqualTo(weights.EnumerateArray().Select(w => w.GetSingle())).Within(1e-5f), "fusion weights");
        }
    }

    // A trace is of the prefill; what the last layer measures decides nothing there.
    private static bool IsOfPrefill(JsonElement decision, ScheduleTrace trace)
    {
        string what = decision.GetProperty("what").GetString()!;
        bool measured = what.StartsWith("filter", StringComparison.Ordinal) || what.StartsWith("quiet", StringComparison.Ordinal);
        return !what.StartsWith("decode", StringComparison.Ordinal)
            && !(measured && decision.GetProperty("layer").GetInt32() == trace.RowsByLayer.Length - 1);
    }

    // Two scores in float32, of which each may be wrong by its last places.
    private static double MarginTolerance(JsonElement decision) =>
        Math.Max(0.01 * decision.GetProperty("gap").GetDouble(), decision.TryGetProperty("noise", out JsonElement noise) ? 2 * noise.GetDouble() : 0);

    // Rows that may not be chosen have a score of -infinity in both.
    private static double Distance(float[] expected, IReadOnlyList<float> actual) => expected.Length == actual.Count
        ? expected.Zip(actual).Max(pair => pair.First.Equals(pair.Second) ? 0 : Math.Abs((double)pair.First - pair.Second))
        : double.PositiveInfinity;

    // The last prompt row entering each layer: path A's until the fusion, and path B's.
    private static void KeepLastRows(
        VlmEngine engine, Session session, string layer, ParVts.Engine.Compute.Tensor hidden, Dictionary<string, float[]> rows)
    {
        ReadOnlySpan<RowPath> paths = session.Rows.Paths;
        int lastOfA = paths.LastIndexOf(RowPath.Subject);
        rows[$"last.{layer}"] = Download(engine, hidden.Slice(lastOfA < 0 ? paths.Length - 1 : lastOfA, 1));
        if (lastOfA >= 0)
            rows[$"last_b.{layer}"] = Download(engine, hidden.Slice(paths.Length - 1, 1));
    }

    private static float[] Download(VlmEngine engine, ParVts.Engine.Compute.Tensor tensor)
    {
        float[] row = new float[tensor.Columns];
        engine.Device.Download(tensor, row.AsSpan());
        return row;
    }

    private static long[] Longs(JsonElement about, string name) =>
        [.. about.GetProperty(name).EnumerateArray().Select(value => value.GetInt64())];

    private static int[] Integers(JsonElement about, string name) =>
        [.. about.GetProperty(name).EnumerateArray().Select(value => value.GetInt32())];

    // The project's own cases (tools/schedules), and those of the larger set where it is there.
    private static IEnumerable<TestCaseData> Cases()
    {
        string own = TestData.Own("goldens/schedules");
        string? larger = TestData.FindGolden("schedules");
        foreach (string folder in larger is null || Path.GetFullPath(larger) == Path.GetFullPath(own) ? [own] : new[] { own, larger })
        {
            foreach (string file in Directory.GetFiles(folder, "*-*.json").Order())
            {
                string name = Path.GetFileNameWithoutExtension(file);
                if (!File.Exists(Path.ChangeExtension(file, ".safetensors")))
                    continue;
                using JsonDocument json = JsonDocument.Parse(File.ReadAllText(file));
                JsonElement method = json.RootElement.GetProperty("method");
                var data = new TestCaseData(file) { TestName = folder == own ? $"Own_schedule_{name.Replace('-', '_')}" : $"Schedule {name}" };
                yield return PolicyRegistry.All.Any(info => info.Name == method.GetString())
                    ? data
                    : data.Ignore($"policy '{method}' is not there yet");
            }
        }
    }
}
