using ParVts.Engine.Formats;
using ParVts.Engine.Tests.Compute;

namespace ParVts.Gpu.Tests;

/// <summary>Embeddings, activations, conversions and patches.</summary>
internal sealed class ElementTests : DeviceTest
{
    [Test]
    public void Embeddings([Values(TensorType.BF16, TensorType.F16)] TensorType type, [Values(3, 64, 1029)] int columns, [Values] bool adds)
    {
        TestMatrix table = Random(new Random(1), type, 12, columns);
        TestMatrix ids = Integers(11, 0, 5, 5);
        TestMatrix start = Random(new Random(2), TensorType.F32, 4, columns);
        Compare("Embed", TensorType.F32, 4, columns, (device, at, output) => device.Embed(at(table), at(ids), output, adds), adds ? start : null);
    }

    [Test]
    public void Activations(
        [Values] Activation function, [Values(TensorType.F32, TensorType.BF16, TensorType.F16)] TensorType type, [Values(1, 2050)] int columns)
    {
        TestMatrix x = Random(new Random(1), TensorType.F32, 3, columns, 3), up = Random(new Random(2), TensorType.F32, 3, columns);
        Compare($"{function}", type, 3, columns, (device, at, output) => device.Activate(at(x), function, output));
        Compare($"gated {function}", type, 3, columns, (device, at, output) => device.GatedActivate(at(x), at(up), function, output));
    }

    [Test]
    public void Conversions([Values(TensorType.BF16, TensorType.F16)] TensorType type, [Values(1, 2050)] int columns)
    {
        TestMatrix x = Random(new Random(1), TensorType.F32, 3, columns, 3);
        Compare("Convert", type, 3, columns, (device, at, output) => device.Convert(at(x), output), room: 3);
    }

    [Test]
    public void Patches([Values(TensorType.F32, TensorType.BF16)] TensorType type, [Values(1, 3, 14)] int patch, [Values(1, 8, 11)] int across)
    {
        TestMatrix pixels = Random(new Random(1), TensorType.F32, 3 * 2 * patch, across * patch);
        Compare("Patchify", type, 2 * across, 3 * patch * patch, (device, at, output) => device.Patchify(at(pixels), patch, output));
    }
}
