using FsCheck;
using FsCheck.Fluent;
using ParVts.Engine.Formats;

namespace ParVts.Engine.Tests.Formats;

public class SafetensorsWriterTests
{
    private static readonly TensorType[] Types = Enum.GetValues<TensorType>();

    [Test]
    public void What_is_written_is_read_again()
    {
        Gen<TensorToWrite> tensor =
            from type in Gen.Elements(Types)
            from shape in Gen.Choose(0, 5).Select(extent => (long)extent).ArrayOf().Resize(4)
            from seed in Gen.Choose(0, int.MaxValue)
            from name in ArbMap.Default.GeneratorFor<UnicodeString>()
            where name.Get is not null && IsWellFormed(name.Get) && name.Get != "__metadata__"

            // Eight more elements at the end of the shape fill whole bytes for every type.
            select new TensorToWrite(name.Get, type, [.. shape, 8], RandomBytes(seed, shape.Aggregate(1L, (a, b) => a * b) * type.Bits()));
        using var folder = new TempFolder();
        int files = 0;
        Check.One(Config.QuickThrowOnFailure.WithMaxTest(200), Prop.ForAll(tensor.ArrayOf().Resize(12).ToArbitrary(), tensors =>
        {
            TensorToWrite[] distinct = [.. tensors.DistinctBy(item => item.Name)];
            string path = folder.File($"{files++}.safetensors");
            SafetensorsWriter.Write(path, distinct);
            using SafetensorsFile file = SafetensorsFile.Open(path, map: files % 2 == 0);
            return file.Tensors.Count == distinct.Length && distinct.All(item => Same(item, file.Tensors[item.Name]));
        }));
        Assert.That(files, Is.EqualTo(200));
    }

    [Test]
    public void Metadata_come_back_and_the_data_is_aligned()
    {
        using var folder = new TempFolder();
        string path = folder.File("x.safetensors");
        var metadata = new Dictionary<string, string> { ["format"] = "pt", ["quote\"é"] = "\n\u0001" };
        SafetensorsWriter.Write(path, [TensorToWrite.Of("bytes", [1, 2, 3]), TensorToWrite.Of("floats", [1f, 2f], 2, 1), TensorToWrite.Of("longs", [5L])], metadata);
        using SafetensorsFile file = SafetensorsFile.Open(path);
        Assert.That(file.Metadata, Is.EquivalentTo(metadata));
        Assert.That(file.Tensors["floats"].Shape, Is.EqualTo(new long[] { 2, 1 }));
        Assert.That(file.Tensors["floats"].ToFloats(), Is.EqualTo(new[] { 1f, 2f }));
        Assert.That(file.Tensors["longs"].ToIntegers(), Is.EqualTo(new[] { 5L }));
        foreach (StoredTensor tensor in file.Tensors.Values)
            Assert.That((long)tensor.Address % (tensor.Type.Bits() / 8), Is.Zero, tensor.Name);
        Assert.That(Directory.GetFiles(folder.Path), Has.Length.EqualTo(1), "no temporary file stays behind");
    }

    [Test]
    public void Filled_tensors_are_asked_for_piece_by_piece()
    {
        using var folder = new TempFolder();
        string path = folder.File("x.safetensors");
        byte next = 0;
        var pieces = new List<int>();
        SafetensorsWriter.Write(path, [TensorToWrite.Filled("big", TensorType.BF16, Fill, 1_000_001, 2)]);
        using SafetensorsFile file = SafetensorsFile.Open(path);
        Assert.That(pieces.Sum(), Is.EqualTo(4_000_004));
        Assert.That(pieces, Has.Count.GreaterThan(1).And.All.LessThanOrEqualTo(2 << 20));
        Assert.That(pieces.All(length => length % 2 == 0), Is.True);
        ReadOnlySpan<byte> bytes = Bytes(file.Tensors["big"]);
        for (int i = 0; i < bytes.Length; i++)
        {
            if (bytes[i] != (byte)i)
                Assert.Fail($"byte {i} is {bytes[i]}");
        }

        void Fill(Span<byte> piece)
        {
            pieces.Add(piece.Length);
            foreach (ref byte b in piece)
                b = next++;
        }
    }

    [Test]
    public void Wrong_calls_are_refused_and_leave_nothing_behind()
    {
        using var folder = new TempFolder();
        string path = folder.File("x.safetensors");
        TensorToWrite tensor = TensorToWrite.Of("a", [1f]);
        Assert.That(() => SafetensorsWriter.Write(path, [tensor, tensor]), Throws.ArgumentException);
        Assert.That(() => SafetensorsWriter.Write(path, [tensor with { Name = "__metadata__" }]), Throws.ArgumentException);
        Assert.That(() => SafetensorsWriter.Write(path, [tensor with { Name = "\uD800" }]), Throws.ArgumentException);
        Assert.That(() => SafetensorsWriter.Write(path, [tensor with { Shape = [2] }]), Throws.ArgumentException);
        Assert.That(() => SafetensorsWriter.Write(path, [tensor with { Shape = [-1] }]), Throws.ArgumentException);
        Assert.That(
            () => SafetensorsWriter.Write(path, [TensorToWrite.Filled("a", TensorType.U8, _ => throw new InvalidOperationException("stop"), 9)]),
            Throws.InvalidOperationException);
        Assert.That(Directory.GetFiles(folder.Path), Is.Empty);
    }

    [Test]
    public void Writing_replaces_a_file_while_the_old_one_is_mapped()
    {
        using var folder = new TempFolder();
        string path = folder.File("x.safetensors");
        SafetensorsWriter.Write(path, [TensorToWrite.Of("a", [1f, 2f])]);
        using SafetensorsFile before = SafetensorsFile.Open(path);
        SafetensorsWriter.Write(path, [TensorToWrite.Of("a", [3f])]);
        using SafetensorsFile after = SafetensorsFile.Open(path);
        Assert.That(before.Tensors["a"].ToFloats(), Is.EqualTo(new[] { 1f, 2f }));
        Assert.That(after.Tensors["a"].ToFloats(), Is.EqualTo(new[] { 3f }));
    }

    private static bool Same(TensorToWrite written, StoredTensor read) =>
        read.Type == written.Type && read.Shape.AsSpan().SequenceEqual(written.Shape) && Bytes(read).SequenceEqual(written.Data.Span);

    private static unsafe ReadOnlySpan<byte> Bytes(StoredTensor tensor) => new((void*)tensor.Address, (int)tensor.ByteLength);

    private static byte[] RandomBytes(int seed, long length)
    {
        byte[] bytes = new byte[length];
        new Random(seed).NextBytes(bytes);
        return bytes;
    }

    private static bool IsWellFormed(string text)
    {
        for (int i = 0; i < text.Length; i++)
        {
            if (char.IsSurrogatePair(text, Math.Min(i, text.Length - 1)))
                i++;
            else if (char.IsSurrogate(text[i]))
                return false;
        }

        return true;
    }
}
