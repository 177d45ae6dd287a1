using ParVts.Engine.Formats;
using ParVts.Engine.Tests.Compute;

namespace ParVts.Gpu.Tests;

/// <summary>Norms, and rows that move, merge and fuse.</summary>
internal sealed class RowTests : DeviceTest
{
    [Test]
    public void Norms([Values(TensorType.F32, TensorType.BF16, TensorType.F16)] TensorType type, [Range(1, 6)] int seed)
    {
        var random = new Random(seed);
        int rows = random.Next(1, 9);
        int columns = seed == 1 ? 4096 : random.Next(1, 1200);
        TestMatrix x = Random(random, TensorType.F32, rows, columns, Math.Pow(10, random.Next(-3, 3)));
        TestMatrix weight = Random(random, TensorType.F32, 1, columns);
        TestMatrix bias = Random(random, TensorType.F32, 1, columns);
        Compare($"RmsNorm {seed}", type, rows, columns, (device, at, output) => device.RmsNorm(at(x), at(weight), 1e-5f, output));
        Compare($"LayerNorm {seed}", type, rows, columns, (device, at, output) => device.LayerNorm(at(x), at(weight), at(bias), 1e-5f, output));
    }

    [Test]
    public void Rows_move_exactly([Values(4, 37, 1024)] int columns)
    {
        TestMatrix x = Random(new Random(1), TensorType.F32, 9, columns);
        TestMatrix order = Integers(8, 0, 3, 3, 1);
        Compare("GatherRows", TensorType.F32, 5, columns, (device, at, output) => device.GatherRows(at(x), at(order), output));
        TestMatrix places = Integers(3, 1);
        TestMatrix start = Random(new Random(2), TensorType.F32, 4, columns);
        TestMatrix moved = Random(new Random(3), TensorType.F32, 2, columns);
        Compare("ScatterRows", TensorType.F32, 4, columns, (device, at, output) => device.ScatterRows(at(moved), at(places), output), start);
    }

    [Test]
    public void Rows_merge_by_weights([Range(1, 4)] int seed)
    {
        var random = new Random(seed);
        int columns = random.Next(1, 300);
        TestMatrix x = Random(random, TensorType.F32, 11, columns);
        TestMatrix offsets = Integers(0, 1, 4, 4, 9);
        TestMatrix sources = Integers(10, 1, 2, 3, 0, 0, 5, 6, 9);
        TestMatrix weights = Random(random, TensorType.F32, 1, 9);
        Compare("MergeRows", TensorType.F32, 4, columns, (device, at, output) =>
            device.MergeRows(at(x), at(offsets), at(sources), at(weights), output));
    }

    [Test]
    public void Paths_fuse([Range(1, 4)] int seed)
    {
        var random = new Random(seed);
        int columns = random.Next(1, 300);
        int heads = random.Next(1, 41);
        TestMatrix x = Random(random, TensorType.F32, 8, columns);
        TestMatrix lse = Random(random, TensorType.F32, 8, heads, 3);
        TestMatrix first = Integers(1, 3, 2);
        TestMatrix second = Integers(5, 6, 7);
        TestMatrix weights = Random(random, TensorType.F32, 1, 3);
        Compare("PathWeights", TensorType.F32, 1, 3, (device, at, output) => device.PathWeights(at(lse), at(first), at(second), output));
        Compare("FusePaths", TensorType.F32, 8, columns, (device, at, output) => device.FusePaths(output, at(first), at(second), at(weights)), x);
    }
}
