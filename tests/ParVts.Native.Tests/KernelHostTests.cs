using System.Runtime.InteropServices;
using ParVts.Cuda;
using ParVts.Cuda.Compilation;
using ParVts.Cuda.Tests;
using ParVts.Engine.Compute;
using ParVts.Engine.Compute.Cuda;
using ParVts.Engine.Formats;
using ParVts.Engine.Generation;
using ParVts.Engine.Scheduling;
using ParVts.GpuSim.Driver;
using ParVts.Native.Items;

namespace ParVts.Native.Tests;

/// <summary>
/// A C host calls the kernels on its own pages, pointers, context and stream (clients/kernel_host.c) of the simulated GPU, and gets the
/// numbers that the engine gets, to the bit.
/// </summary>
[NonParallelizable]
public sealed unsafe class KernelHostTests
{
    private const int Heads = 4;
    private const int KvHeads = 2;
    private const int HeadDim = 40;

    private static IEnumerable<TestCaseData> Cases()
    {
        yield return new TestCaseData("dense").SetArgDisplayNames("dense");
        yield return new TestCaseData("parvts").SetArgDisplayNames("parvts");
        yield return new TestCaseData("batch").SetArgDisplayNames("batch");
        yield return new TestCaseData("masks").SetArgDisplayNames("masks");
    }

    [TestCaseSource(nameof(Cases))]
    public void ACHostGetsTheEnginesBits(string name)
    {
        KernelCompiler compiler = TestCompiler.Require();
        AttentionPlan plan = PlanOf(name, out int rows, out int keys);
        using var data = new KernelData(new Random(rows), plan, rows, keys, Heads, KvHeads, HeadDim);
        using var sim = new SimDriver();
        CudaOptions options = new() { CacheFolder = Path.Combine(Path.GetTempPath(), "parvts-test-kernels"), LineInfo = true, PtxOnly = true };
        KernelResults expected;
        using (CudaDevice device = CudaDevice.Open(sim.Api, compiler, CudaDeviceInfo.All(sim.Api)[0], "sim", options))
            expected = data.Compute(device);

        Func<nint, nint, CudaOptions, CudaDevice> attach = KernelsItem.Attach;
        int open = Handles.Count;
        KernelResults given;
        try
        {
            KernelsItem.Attach = (context, stream, _) => CudaDevice.Attach(sim.Api, compiler, context, stream, options);
            given = data.ComputeInC(sim);
        }
        finally
        {
            KernelsItem.Attach = attach;
        }

        using (Assert.EnterMultipleScope())
        {
            foreach ((string what, byte[] bytes) in expected.All)
                Assert.That(given.All[what], Is.EqualTo(bytes), what);
            Assert.That(expected.All["output"].Distinct().Count(), Is.GreaterThan(100), "numbers, not zeros");
            Assert.That(sim.Faults.Select(fault => fault.Message), Is.Empty);
            Assert.That(sim.Leaks(), Is.Empty, "the host freed its own, the library its own");
            Assert.That(Handles.Count, Is.EqualTo(open));
        }
    }

    // The plan that is tested is the one that the engine runs: as many pairs as its trace says.
    [Test]
    public void ThePlansAreTheEngines()
    {
        using var engine = Engine.Generation.Engine.Open(Host.Model);
        PromptImage image = engine.PrepareImage(Engine.Imaging.ImageDecoder.Load(Host.Picture));
        Prompt prompt = engine.CreatePrompt(
            [new Engine.Text.ChatMessage("user", [Engine.Text.ChatPart.Image, Engine.Text.ChatPart.OfText("what color is the circle?")])], [image]);
        using Session dense = engine.CreateSession("dense");
        using Session paths = engine.CreateSession("parvts:keep=36,migrate=2");
        ScheduleTrace all = dense.PlanTrace(prompt);
        ScheduleTrace two = paths.PlanTrace(prompt);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(Dense(all.RowsByLayer[0]).CountPairs(), Is.EqualTo(all.PairsByLayer[0]));
            Assert.That(TwoPaths(two.Prefix, 36, two.Visual - 36, two.Text).CountPairs(), Is.EqualTo(two.PairsByLayer[0]));
        }
    }

    // A runtime calls these for every layer of every step.
    [Test]
    public void AWarmCallAllocatesNothing()
    {
        using var memory = new HostAttention();
        memory.Attend();
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 100; i++)
            memory.Attend();
        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.Zero);
    }

    /// <summary>One row over one page of a C host's, on the CPU.</summary>
    private sealed class HostAttention : IDisposable
    {
        private const int Floats = 1 << 12;

        private readonly float* _memory = (float*)NativeMemory.AlignedAlloc(Floats * sizeof(float), 64);
        private readonly ulong _kernels;
        private readonly ulong _plan;

        public HostAttention()
        {
            new Span<float>(_memory, Floats).Clear();
            ErrorInfo error = Host.Error();
            ulong kernels, plan;
            fixed (byte* cpu = Host.C("cpu"))
                Host.Ok(Host.Api->KernelsOpen(cpu, null, null, 0, &kernels, &error), error);
            var segment = new QuerySegment(0, 1, 0, 1);
            var range = new KeyRange(0, 1, KeyRule.Full);
            var info = new PlanInfo { StructSize = (uint)sizeof(PlanInfo), Segments = &segment, SegmentCount = 1, Ranges = &range, RangeCount = 1 };
            Host.Ok(Host.Api->PlanCreate(&info, &plan, &error), error);
            (_kernels, _plan) = (kernels, plan);
        }

        public void Attend()
        {
            void* page = _memory;
            var q = new TensorInfo { StructSize = (uint)sizeof(TensorInfo), Type = 1, Data = _memory + 2048, Rows = 1, Columns = 16 };
            TensorInfo output = q with { Data = _memory + 3072 };
            var layer = new LayerInfo { StructSize = (uint)sizeof(LayerInfo), Type = 1, Pages = &page, Length = 1, Heads = 1, HeadDim = 16 };
            ErrorInfo error = Host.Error();
            Host.Ok(Host.Api->SegmentAttention(_kernels, &q, &layer, _plan, 0.25f, &output, null, &error), error);
            Host.Ok(Host.Api->DecodeAttention(_kernels, &q, &layer, 0.25f, &output, &error), error);
        }

        public void Dispose()
        {
            ErrorInfo error = Host.Error();
            Host.Ok(Host.Api->PlanClose(_plan, &error), error);
            Host.Ok(Host.Api->KernelsClose(_kernels, &error), error);
            NativeMemory.AlignedFree(_memory);
        }
    }

    private static AttentionPlan PlanOf(string name, out int rows, out int keys)
    {
        AttentionPlan plan;
        switch (name)
        {
            case "dense":
                (rows, keys) = (75, 75);
                return Dense(rows);
            case "parvts":
                plan = TwoPaths(prefix: 7, subject: 20, rest: 50, question: 9);
                rows = keys = 7 + 20 + 50 + 2 * 9;
                return plan;
            case "batch":
                // Two requests in one launch: each sees its own keys, the first also 30 that were cached before.
                plan = new AttentionPlan();
                plan.AddSegment(0, 20);
                plan.AddRange(new KeyRange(0, 30, KeyRule.Full));
                plan.AddRange(new KeyRange(30, 50, KeyRule.Diagonal));
                plan.AddSegment(20, 70);
                plan.AddRange(new KeyRange(50, 100, KeyRule.Diagonal));
                (rows, keys) = (70, 100);
                return plan;
            default:
                plan = new AttentionPlan();
                (rows, keys) = (40, 90);
                uint[] there = [.. Enumerable.Range(0, 3).Select(word => 0xFFFFFFFF ^ 1u << (5 + word))];
                plan.SetKeyMask(there);
                plan.SetKeyBias([.. Enumerable.Range(0, keys).Select(key => key % 7 * 0.125f)]);
                int skips = plan.AddHeadMask([0b0110]);
                plan.AddSegment(0, 36);
                plan.AddRange(new KeyRange(0, 36, KeyRule.Window, Window: 3, GridWidth: 6));
                plan.AddRange(new KeyRange(40, 80, KeyRule.Full, ValueRule.Sink, SinkRow: 2, Heads: skips));
                plan.AddSegment(36, 40);
                plan.AddRange(new KeyRange(0, 60, KeyRule.Full, ValueRule.None));
                plan.AddRange(new KeyRange(60, 90, KeyRule.Diagonal));
                return plan;
        }
    }

    private static AttentionPlan Dense(int rows)
    {
        var plan = new AttentionPlan();
        plan.SetCausal(rows, 0);
        return plan;
    }

    // [prefix | subject, question | rest, question]: path A is contiguous with the prefix, path B sees the prefix and itself (D5).
    private static AttentionPlan TwoPaths(int prefix, int subject, int rest, int question)
    {
        int pathB = prefix + subject + question;
        int rows = pathB + rest + question;
        var plan = new AttentionPlan();
        plan.AddSegment(0, pathB);
        plan.AddRange(new KeyRange(0, pathB, KeyRule.Diagonal));
        plan.AddSegment(pathB, rows);
        plan.AddRange(new KeyRange(0, prefix, KeyRule.Full));
        plan.AddRange(new KeyRange(pathB, rows, KeyRule.Diagonal));
        return plan;
    }
}
