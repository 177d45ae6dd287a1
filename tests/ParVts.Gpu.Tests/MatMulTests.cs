using ParVts.Engine.Compute;
using ParVts.Engine.Formats;
using ParVts.Engine.Tests.Compute;

namespace ParVts.Gpu.Tests;

/// <summary>Matrix products of every kind of shape: GEMV, tiles of all sizes, sizes that fit none.</summary>
internal sealed class MatMulTests : DeviceTest
{
    private static readonly (int Rows, int Columns, int Inner)[] s_shapes =
        [(1, 1, 1), (1, 301, 1030), (7, 33, 257), (8, 64, 48), (16, 4, 129), (33, 97, 100), (64, 640, 64), (200, 150, 72), (130, 1100, 40), (1290, 1300, 24)];

    [Test]
    public void Products([Values(TensorType.BF16, TensorType.F16)] TensorType type, [Range(0, 9)] int shape, [Values] bool adds)
    {
        (int rows, int columns, int inner) = s_shapes[shape];
        var random = new Random(shape);
        TestMatrix x = Random(random, type, rows, inner);
        TestMatrix weight = Random(random, type, columns, inner);
        TestMatrix bias = Random(random, TensorType.F32, 1, columns);
        TestMatrix start = Random(random, TensorType.F32, rows, columns);
        long before = Gpu.Device.Counters.MatMulFlops;
        Compare($"MatMul {s_shapes[shape]}", TensorType.F32, rows, columns, Multiply, adds ? start : null, room: 4);
        Assert.That(Gpu.Device.Counters.MatMulFlops - before, Is.EqualTo(2L * rows * columns * inner));

        void Multiply(ComputeDevice device, Func<TestMatrix, Tensor> at, Tensor output) =>
            device.MatMul(at(x), at(weight), shape % 2 == 0 ? at(bias) : default, output, adds);
    }

    [Test]
    public void Tiles_are_chosen_by_the_number_of_rows([Values(1, 3, 40, 1290)] int rows)
    {
        TestMatrix x = Random(new Random(1), TensorType.BF16, rows, 16), weight = Random(new Random(2), TensorType.BF16, 1300, 16);
        Tensor output = Empty(TensorType.F32, rows, 1300);
        Dictionary<string, long> before = Launches();
        Gpu.Device.MatMul(At(x), At(weight), default, output);
        string launched = Launches().Single(entry => entry.Value != before.GetValueOrDefault(entry.Key)).Key;
        Assert.That(launched, rows < 8 ? Is.EqualTo("gemv") : Does.StartWith("matmul_"));
        if (rows == 1290 && !TestGpu.IsReal)
            Assert.That(launched, Is.EqualTo("matmul_128x128").Or.EqualTo("matmul_64x64"));
    }

    [Test]
    public void A_row_does_not_depend_on_the_rows_beside_it([Values(TensorType.BF16, TensorType.F16)] TensorType type)
    {
        var random = new Random(3);
        TestMatrix x = Random(random, type, 600, 200), weight = Random(random, type, 260, 200);
        Tensor all = Empty(TensorType.F32, 600, 260), few = Empty(TensorType.F32, 9, 260);
        Gpu.Device.MatMul(At(x), At(weight), default, all);
        Gpu.Device.MatMul(At(x).Slice(411, 9), At(weight), default, few);
        Assert.That(Read(few).Select(BitConverter.SingleToInt32Bits), Is.EqualTo(Read(all.Slice(411, 9)).Select(BitConverter.SingleToInt32Bits)));
    }

    [Test]
    public void Results_may_be_of_the_inputs_type([Values(TensorType.BF16, TensorType.F16)] TensorType type, [Values(2, 20)] int rows)
    {
        TestMatrix x = Random(new Random(4), type, rows, 70), weight = Random(new Random(5), type, 45, 70), bias = Random(new Random(6), TensorType.F32, 1, 45);
        Compare("MatMul", type, rows, 45, (device, at, output) => device.MatMul(at(x), at(weight), at(bias), output));
    }

    [Test]
    public void Shapes_that_do_not_fit_are_refused()
    {
        TestMatrix x = Random(new Random(1), TensorType.BF16, 3, 16), weight = Random(new Random(2), TensorType.BF16, 5, 24), half = Random(new Random(3), TensorType.F16, 5, 16);
        Tensor output = Empty(TensorType.F32, 3, 5);
        Assert.That(() => Gpu.Device.MatMul(At(x), At(weight), default, output), Throws.ArgumentException.With.Message.Contains("does not give"));
        Assert.That(() => Gpu.Device.MatMul(At(x), At(half), default, output), Throws.ArgumentException.With.Message.Contains("both"));
        Tensor askew = At(x) with { Stride = 17 };
        Assert.That(() => Gpu.Device.MatMul(askew, At(weight) with { Columns = 16 }, default, output), Throws.ArgumentException.With.Message.Contains("16 bytes"));
    }

    private Dictionary<string, long> Launches() => Gpu.Device.KernelUses.GroupBy(one => one.Kernel).ToDictionary(group => group.Key, group => group.Sum(one => one.Launches));
}
