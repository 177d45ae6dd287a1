using ParVts.Engine.Formats;

namespace ParVts.Engine.Tests.Formats;

public class TensorConvertTests
{
    [TestCase(TensorType.F32, "0000C03F000000C0", new[] { 1.5, -2 })]
    [TestCase(TensorType.BF16, "C03F00C0", new[] { 1.5, -2 })]
    [TestCase(TensorType.F16, "003E00C0", new[] { 1.5, -2 })]
    [TestCase(TensorType.F64, "000000000000F83F00000000000000C0", new[] { 1.5, -2 })]
    [TestCase(TensorType.I64, "FFFFFFFFFFFFFFFF0200000000000000", new[] { -1.0, 2 })]
    [TestCase(TensorType.U32, "FFFFFFFF02000000", new[] { 4294967295.0, 2 })]
    [TestCase(TensorType.I32, "FFFFFFFF02000000", new[] { -1.0, 2 })]
    [TestCase(TensorType.I16, "FFFF0200", new[] { -1.0, 2 })]
    [TestCase(TensorType.U16, "FFFF0200", new[] { 65535.0, 2 })]
    [TestCase(TensorType.I8, "FF02", new[] { -1.0, 2 })]
    [TestCase(TensorType.U8, "FF02", new[] { 255.0, 2 })]
    [TestCase(TensorType.Bool, "0001", new[] { 0.0, 1 })]
    public void Each_type_widens_to_its_values(TensorType type, string bytes, double[] expected)
    {
        using var folder = new TempFolder();
        using SafetensorsFile file = Written(folder, type, bytes);
        StoredTensor tensor = file.Tensors["x"];
        Assert.That(tensor.ToDoubles(), Is.EqualTo(expected));
        Assert.That(tensor.ToFloats(), Is.EqualTo(expected.Select(value => (float)value)));
        if (expected.All(double.IsInteger) && type is not (TensorType.F32 or TensorType.F64 or TensorType.F16 or TensorType.BF16))
            Assert.That(tensor.ToIntegers(), Is.EqualTo(expected.Select(value => (long)value)));
        else
            Assert.That(() => tensor.ToIntegers(), Throws.TypeOf<ModelFormatException>().With.Message.Contains("'x'"));
    }

    [Test]
    public void Packed_types_are_refused_and_lengths_are_checked()
    {
        using var folder = new TempFolder();
        using SafetensorsFile file = Written(folder, TensorType.F8E4M3, "0102");
        Assert.That(() => file.Tensors["x"].ToFloats(), Throws.TypeOf<ModelFormatException>().With.Message.Contains("F8_E4M3"));
        Assert.That(() => file.Tensors["x"].CopyTo(new float[3]), Throws.ArgumentException);
    }

    private static SafetensorsFile Written(TempFolder folder, TensorType type, string bytes)
    {
        SafetensorsWriter.Write(folder.File("x.safetensors"), [new TensorToWrite("x", type, [2], Convert.FromHexString(bytes))]);
        return SafetensorsFile.Open(folder.File("x.safetensors"));
    }
}
