using System.Diagnostics.Tracing;
using System.Text.Json;
using ParVts.Cuda;
using ParVts.Cuda.Native;
using ParVts.Cuda.Tests;
using ParVts.Engine.Generation;
using ParVts.Engine.Profiling;
using ParVts.Engine.Tests.Scheduling;

namespace ParVts.Engine.Tests.Profiling;

/// <summary>What profilers are told of a run: the same by every way, with the rows that the trace has, and for nothing where nobody listens.</summary>
[NonParallelizable]
public sealed class ProfileRangesTests
{
    private const int Layers = 6;
    private const int Tokens = 4;

    [TestCase("dense", "", "", "", "", "", "")]
    [TestCase("parvts:keep=k,migrate=2", "paths", "paths", "fuse", "", "", "", "split")]
    [TestCase("parvts:keep=k,migrate=1,fuse=lse", "paths probe", "fuse", "", "", "", "", "split")]
    [TestCase("parvts:keep=k,migrate=0", "", "", "", "", "", "", "select")]
    [TestCase("cls-prune:keep=k", "", "", "", "", "", "", "select")]
    [TestCase("vtw:layer=4", "", "", "", "", "leave", "")]
    [TestCase("fastv:layer=2,keep=k", "", "probe", "select", "", "", "")]
    [TestCase("shortv:layers=1/3", "", "frozen", "", "frozen", "", "")]
    [TestCase("yopo:window=3,cut=1,tail=mask", "view", "view", "view", "view", "view", "view")]
    public void Every_phase_and_layer_has_its_range(
        string policy, string zero, string one, string two, string three, string four, string five, string? before = null)
    {
        using var model = new TinyModel(3, layers: Layers);
        var recorder = new ProfileRecorder();
        string[] stages = [zero, one, two, three, four, five];
        GenerationResult result = Generate(model, new EngineOptions { Threads = 2, Profile = recorder }, policy, images: 2);
        ProfileRange[] all = [.. recorder.Ranges.OrderBy(range => range.Begin)];
        ProfileRange prefill = all.Single(range => range.Name == "prefill");
        ProfileRange[] inside = [.. all.Where(range => range != prefill && Within(range, prefill))];
        ProfileRange[] layers = [.. inside.Where(range => range.Name.StartsWith("layer ", StringComparison.Ordinal))];
        ProfileRange[] steps = [.. all.Where(range => range.Name == "decode")];
        using (Assert.EnterMultipleScope())
        {
            Assert.That(Names(all.Where(range => !range.Name.Contains(' ', StringComparison.Ordinal))), Is.EqualTo((string[])
            [
                "load", "vision", "project", "vision", "project", "prefill", "policy", .. before is null ? (string[])[] : [before], "logits", "sample",
                .. Enumerable.Repeat((string[])["decode", "sample"], Tokens - 1).SelectMany(names => names),
            ]));
            Assert.That(Names(layers), Is.EqualTo(stages.Select((stage, layer) => $"layer {layer} {stage}".TrimEnd())));
            Assert.That(layers.Select(layer => layer.Count), Is.EqualTo(result.Trace.RowsByLayer.Select(rows => (long)rows)));
            Assert.That(Names(inside.Where(range => range.Name.StartsWith("policy", StringComparison.Ordinal))), Is.EqualTo(
                (string[])["policy", .. Enumerable.Range(0, Layers).Select(layer => $"policy {layer}")]));
            Assert.That(steps.Select(step => step.Count), Is.EqualTo(Enumerable.Range(0, Tokens - 1).Select(step => (long)result.PromptTokens + step)));
            foreach (ProfileRange step in steps)
            {
                Assert.That(
                    Names(all.Where(range => range != step && Within(range, step))),
                    Is.EqualTo(Enumerable.Range(0, Layers).Select(layer => $"layer {layer}")));
            }

            foreach (ProfileRange vision in all.Where(range => range.Name == "vision"))
                Assert.That(all.Count(range => Within(range, vision) && range.Name.StartsWith("block ", StringComparison.Ordinal)), Is.EqualTo(2), "the last block gives nothing to the projector");
            Assert.That(all.Where(range => range.Name == "project").Select(range => range.Count), Is.All.EqualTo(model.Visual));
        }
    }

    [Test]
    public void Merging_in_the_tower_shows_in_the_blocks()
    {
        using var model = new TinyModel(3, layers: 2, grid: 6);
        var recorder = new ProfileRecorder();
        Generate(model, new EngineOptions { Threads = 2, Profile = recorder }, "tome:merge=4");
        long[] rows = [.. recorder.Ranges.Where(range => range.Name.StartsWith("block ", StringComparison.Ordinal)).Select(range => range.Count)];
        Assert.That(rows, Is.EqualTo(new long[] { 37, 33 }));
    }

    [Test]
    public void Listeners_of_every_kind_are_told_the_same()
    {
        using var model = new TinyModel(4, layers: 3);
        FakeNvtx.Reset();
        var recorder = new ProfileRecorder();
        using var listener = new Listener();
        Generate(model, new EngineOptions { Threads = 2, Profile = recorder, Nvtx = Domain() }, "parvts:keep=k,migrate=1");
        string[] recorded = [.. recorder.Ranges.Select(range => $"{range.Name}, {range.Count}")];
        using (Assert.EnterMultipleScope())
        {
            Assert.That(listener.Ended, Is.EqualTo(recorded));
            Assert.That(listener.Heard.Where(text => text != "end"), Is.EquivalentTo(recorded));
            Assert.That(FakeNvtx.Heard.Select(text => text.Split(';')[0].Replace("ParVts: ", "", StringComparison.Ordinal)), Is.EqualTo(listener.Heard));
        }
    }

    [Test]
    public void Decoding_allocates_nothing_even_where_nvtx_listens()
    {
        using var model = new TinyModel(5);
        FakeNvtx.Reset();
        FakeNvtx.Listening = false;
        using VlmEngine engine = VlmEngine.Open(model.Folder, new EngineOptions { Threads = 2, Nvtx = Domain() });
        using Session session = engine.CreateSession("dense");
        Prompt prompt = model.Prompt();
        var allocated = new List<long>(64);
        session.OnStep = _ => allocated.Add(GC.GetAllocatedBytesForCurrentThread());
        var options = new GenerationOptions { MaxTokens = 12, IgnoreEndOfSequence = true };
        session.Generate(prompt, options);
        session.Reset();
        allocated.Clear();
        int before = FakeNvtx.Pushes;
        session.Generate(prompt, options);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(FakeNvtx.Pushes - before, Is.GreaterThan(12 * (1 + model.Layers)));
            Assert.That(allocated[^1] - allocated[2], Is.Zero);
        }
    }

    [Test]
    public void The_file_is_what_perfetto_reads()
    {
        using var model = new TinyModel(6, layers: 3);
        var recorder = new ProfileRecorder();
        Generate(model, new EngineOptions { Threads = 2, Profile = recorder }, "vtw:layer=1");
        using var file = new MemoryStream();
        recorder.WriteTraceEvents(file, new("model", "tiny"), new("policy", "vtw:layer=1"));
        using JsonDocument document = JsonDocument.Parse(file.ToArray());
        JsonElement root = document.RootElement;
        JsonElement[] events = [.. root.GetProperty("traceEvents").EnumerateArray().Where(one => one.GetProperty("ph").GetString() == "X")];
        double last = double.NegativeInfinity;
        using (Assert.EnterMultipleScope())
        {
            Assert.That(root.GetProperty("otherData").GetProperty("policy").GetString(), Is.EqualTo("vtw:layer=1"));
            Assert.That(events.Select(one => one.GetProperty("name").GetString()), Is.EquivalentTo(recorder.Ranges.Select(range => range.Name)));
            foreach (JsonElement one in events)
            {
                double begin = one.GetProperty("ts").GetDouble();
                Assert.That(begin, Is.GreaterThanOrEqualTo(last));
                Assert.That(one.GetProperty("dur").GetDouble(), Is.GreaterThanOrEqualTo(0));
                Assert.That(one.GetProperty("tid").GetInt32(), Is.EqualTo(Environment.CurrentManagedThreadId));
                Assert.That(one.GetProperty("pid").GetInt32(), Is.EqualTo(Environment.ProcessId));
                last = begin;
            }

            JsonElement leave = events.Single(one => one.GetProperty("name").GetString() == "layer 1 leave");
            Assert.That(leave.GetProperty("cat").GetString(), Is.EqualTo("layer"));
            Assert.That(leave.GetProperty("args").GetProperty("rows").GetInt64(), Is.Positive);
        }
    }

    [Test]
    public void A_recorder_keeps_no_more_than_its_limit()
    {
        var recorder = new ProfileRecorder();
        for (int i = 0; i < ProfileRecorder.Limit + 3; i++)
            recorder.Add("range", i, 0, 1);
        Assert.That((recorder.Ranges.Count, recorder.Dropped), Is.EqualTo((ProfileRecorder.Limit, 3L)));
    }

    [Test]
    public void Names_suit_the_filters_of_profilers()
    {
        var everything = (RangeStage)Enum.GetValues<RangeStage>().Sum(stage => (int)stage);
        foreach (RangeKind kind in Enum.GetValues<RangeKind>())
            Assert.That(new RangeKey(kind, 12, everything).ToString(), Does.Match("^[a-z0-9]+( [a-z0-9]+)*$"));
    }

    private static NvtxDomain Domain() => new(new NvtxApi(new FunctionSource("NVTX", "", FakeNvtx.Find)), ProfileRanges.Domain);

    private static GenerationResult Generate(TinyModel model, EngineOptions options, string policy, int images = 1)
    {
        Prompt prompt = model.Prompt(images);
        using VlmEngine engine = VlmEngine.Open(model.Folder, options);
        using Session session = engine.CreateSession(policy.Replace("=k", $"={model.Visual / 3}", StringComparison.Ordinal));
        return session.Generate(prompt, new GenerationOptions { MaxTokens = Tokens, IgnoreEndOfSequence = true });
    }

    private static IEnumerable<string> Names(IEnumerable<ProfileRange> ranges) => ranges.Select(range => range.Name);

    private static bool Within(ProfileRange range, ProfileRange outer) =>
        range.Begin >= outer.Begin && range.Begin + range.Duration <= outer.Begin + outer.Duration;

    /// <summary>Listens as dotnet-trace does.</summary>
    private sealed class Listener : EventListener
    {
        public List<string> Heard { get; } = [];

        public List<string> Ended { get; } = [];

        protected override void OnEventSourceCreated(EventSource source)
        {
            if (source.Name == ProfileRanges.Domain)
                EnableEvents(source, EventLevel.Informational);
        }

        protected override void OnEventWritten(EventWrittenEventArgs written)
        {
            string text = $"{written.Payload![0]}, {written.Payload[1]}";
            Heard.Add(written.EventName == "RangeStart" ? text : "end");
            if (written.EventName == "RangeStop")
                Ended.Add(text);
        }
    }
}
