using ParVts.Engine.Compute;
using ParVts.Engine.Compute.Cuda;
using ParVts.Engine.Formats;
using ParVts.Engine.Generation;
using ParVts.Engine.Scheduling;
using ParVts.Engine.Tests.Generation;
using ParVts.GpuSim.Driver;

namespace ParVts.Gpu.Tests.EndToEnd;

/// <summary>What a schedule saves is saved: matrix operations that were executed, against those that the trace's rows and pairs ask for.</summary>
internal class WorkTests
{
    // Products and sums of an m16n8k16.
    private const long OperationFlops = 2 * 16 * 8 * 16;

    private DeviceModel _model = null!;

    [OneTimeSetUp]
    public void Open() => _model = new DeviceModel(DemoModel.Folder);

    [OneTimeTearDown]
    public void Close() => _model?.Dispose();

    [TestCase("dense", 0, 0)]
    [TestCase("parvts:keep=20,migrate=2,fuse=mean", 20, 2)]
    [TestCase("parvts:keep=80,migrate=2,fuse=mean", 80, 2)]
    [TestCase("cls-prune:keep=20", 20, 0)]
    public void Tiles_that_nobody_sees_cost_nothing(string policy, int kept, int migrate)
    {
        (ScheduleTrace trace, Dictionary<string, long> operations) = Run(policy);
        TextConfig text = _model.Engine.Config.Text;
        var shape = new AttentionShape(text.HeadDim, text.Heads, text.KeyValueHeads, TensorType.BF16);

        // Attention, exactly: tiles of 64 rows, pages of 64 keys, and within them the groups of 16 rows that see a key.
        int visual = kept == 0 ? trace.Visual : kept;
        int first = trace.Prefix + visual + trace.Text;
        long expected = 0;
        for (int layer = 0; layer < text.Layers; layer++)
            expected += Products(shape, trace.Prefix, first, layer < migrate ? trace.Prefix + trace.Visual + 2 * trace.Text : first);
        TestContext.Out.WriteLine($"{policy}: {operations["attention"]} matrix operations in attention, {operations["matmul"]} in products");
        Assert.That(operations["attention"], Is.EqualTo(expected));
        long pairs = 4L * text.Heads * text.HeadDim * trace.PairsByLayer.Sum();
        Assert.That(operations["attention"] * OperationFlops, Is.GreaterThanOrEqualTo(pairs));

        // Products: every row of every layer, in tiles of at most 128 rows and 128 columns.
        long[] least = [.. trace.RowsByLayer.Select(rows => RowFlops(text, 1) * rows)];
        long[] most = [.. trace.RowsByLayer.Select(rows => RowFlops(text, 128) * ((rows + 127) / 128 * 128))];
        Assert.That(operations["matmul"] * OperationFlops, Is.InRange(least.Sum(), most.Sum()));
    }

    [Test]
    public void ParVTS_costs_as_much_less_as_its_trace_says()
    {
        (ScheduleTrace dense, Dictionary<string, long> all) = Run("dense");
        long densePairs = dense.PairsByLayer.Sum();
        long denseRows = dense.RowsByLayer.Sum();
        (ScheduleTrace trace, Dictionary<string, long> some) = Run("parvts:keep=20,migrate=1,fuse=mean");
        double pairs = trace.PairsByLayer.Sum() / (double)densePairs;
        double rows = trace.RowsByLayer.Sum() / (double)denseRows;
        double attention = some["attention"] / (double)all["attention"];
        double products = some["matmul"] / (double)all["matmul"];
        TestContext.Out.WriteLine($"pairs {pairs:0.###}, attention's matrix operations {attention:0.###}; rows {rows:0.###}, products' {products:0.###}");
        Assert.That(trace.FlopsCountedByLayer.Sum() / (double)trace.FlopsByLayer.Sum(), Is.EqualTo(1).Within(0.01));

        // A share can be off by a tile of each layer, not more.
        Assert.That(attention, Is.InRange(pairs, pairs + 0.25));
        Assert.That(products, Is.EqualTo(rows).Within(64.0 * trace.RowsByLayer.Length / denseRows));
    }

    private (ScheduleTrace Trace, Dictionary<string, long> Operations) Run(string policy)
    {
        SimDriver sim = _model.Sim;
        using Session session = _model.Engine.CreateSession(policy);
        session.Progress = progress =>
        {
            if (progress.Phase != "vision")
                return;

            // To share a queue is to wait for it: the tower's work is done, and what follows is the decoder's.
            session.Device.Share().Dispose();
            sim.ResetCounters();
        };
        GenerationResult result = session.Generate(
            DemoModel.Ask(_model.Engine, "how many objects are there?", DemoModel.Picture(0)), new GenerationOptions { MaxTokens = 1 });
        var operations = new Dictionary<string, long> { ["attention"] = 0, ["matmul"] = 0 };
        foreach ((string kernel, KernelTotals totals) in sim.Counters.Kernels)
        {
            long products = totals.ByText.Where(text => text.Key.StartsWith("mma.sync", StringComparison.Ordinal)).Sum(text => text.Value) / 32;
            string family = kernel.StartsWith("matmul", StringComparison.Ordinal) ? "matmul" : "attention";
            if (family == "attention" && kernel != "segment_attention")
                Assert.That(products, Is.Zero, kernel);
            operations[family] += products;
        }

        return (result.Trace, operations);
    }

    // Path A's rows come first, and path B's behind them: B sees the prefix and itself.
    private static long Products(AttentionShape shape, int prefix, int first, int rows)
    {
        var plan = new AttentionPlan();
        plan.AddSegment(0, first);
        plan.AddRange(new KeyRange(0, first, KeyRule.Diagonal));
        if (rows > first)
        {
            plan.AddSegment(first, rows);
            plan.AddRange(new KeyRange(0, prefix, KeyRule.Full));
            plan.AddRange(new KeyRange(first, rows, KeyRule.Diagonal));
        }

        var tiles = new AttentionTiles();
        tiles.Fill(plan, rows);
        return SegmentAttentionTests.ExpectedProducts(plan, tiles.Tiles, shape);
    }

    // Query, key, value, output, gate, up and down for one row, its columns in whole tiles.
    private static long RowFlops(TextConfig text, int tile)
    {
        long Padded(int columns) => (columns + tile - 1) / tile * tile;
        int queries = text.Heads * text.HeadDim;
        int keys = text.KeyValueHeads * text.HeadDim;
        return 2 * ((Padded(queries) + 2 * Padded(keys) + 2 * Padded(text.IntermediateSize)) * text.HiddenSize
            + Padded(text.HiddenSize) * (queries + text.IntermediateSize));
    }
}
