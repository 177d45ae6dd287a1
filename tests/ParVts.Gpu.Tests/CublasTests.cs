using ParVts.Engine.Formats;
using ParVts.Engine.Tests.Compute;

namespace ParVts.Gpu.Tests;

/// <summary>Matrix products by cuBLAS, with our own kernel beside it for few rows.</summary>
internal sealed class CublasTests : DeviceTest
{
    [Test]
    public void Products([Values(TensorType.BF16, TensorType.F16)] TensorType type, [Values(3, 40)] int rows, [Values] bool adds, [Values] bool hasBias)
    {
        var random = new Random(rows);
        TestMatrix x = Random(random, type, rows, 70), weight = Random(random, type, 45, 70);
        TestMatrix bias = Random(random, TensorType.F32, 1, 45), start = Random(random, TensorType.F32, rows, 45);
        long before = Gpu.Sim?.Counters.MatrixProducts ?? 0;
        Compare(
            "MatMul", TensorType.F32, rows, 45, (device, at, output) => device.MatMul(at(x), at(weight), hasBias ? at(bias) : default, output, adds),
            adds ? start : null, room: 4);
        if (Gpu.Sim is { } sim)
            Assert.That(sim.Counters.MatrixProducts - before, Is.EqualTo(rows < 8 ? 0 : 1));
    }

    protected override TestGpu Open() => TestGpu.Open(cublas: true);
}
