using ParVts.Engine.Formats;

namespace ParVts.Engine.Tests.Formats;

/// <summary>Sharded weights: what is right opens, every disagreement is named.</summary>
public class WeightFilesTests
{
    private const string Index = """{"metadata":{"total_size":12},"weight_map":{"a":"one.safetensors","b":"two.safetensors"}}""";

    [Test]
    public void Shards_open_together(
        [Values] bool map)
    {
        using TempFolder folder = TwoShards(Index);
        using WeightFiles weights = WeightFiles.Open(folder.Path, map);
        Assert.That(weights.Names, Is.EquivalentTo(["a", "b"]));
        Assert.That(weights.TryGet("b", out StoredTensor? b), Is.True);
        Assert.That(b!.ToFloats(), Is.EqualTo(new[] { 2f, 3f }));
        Assert.That(weights.TryGet("c", out _), Is.False);
        Assert.That(weights.ByteLength, Is.EqualTo(Directory.EnumerateFiles(folder.Path, "*.safetensors").Sum(file => new FileInfo(file).Length)));
    }

    [Test]
    public void A_single_file_goes_before_an_index()
    {
        using TempFolder folder = TwoShards(Index);
        SafetensorsWriter.Write(folder.File("model.safetensors"), [TensorToWrite.Of("only", [1f])]);
        using WeightFiles weights = WeightFiles.Open(folder.Path);
        Assert.That(weights.Names, Is.EqualTo(["only"]));
    }

    [TestCase("""{"weight_map":{"a":"one.safetensors","b":"three.safetensors"}}""", "'three.safetensors': this shard is not in the folder")]
    [TestCase("""{"weight_map":{"a":"two.safetensors","b":"one.safetensors"}}""", "'a': is said to be in two.safetensors, but is in one.safetensors")]
    [TestCase("""{"weight_map":{"a":"one.safetensors","b":"two.safetensors","c":"two.safetensors"}}""", "'c': is said to be in two.safetensors, but is not there")]
    [TestCase("""{"weight_map":{"a":"../one.safetensors"}}""", "not a plain file name")]
    [TestCase("""{"weight_map":{"a":"/etc/passwd"}}""", "not a plain file name")]
    [TestCase("""{"weight_map":{"a":"x\\one.safetensors"}}""", "not a plain file name")]
    [TestCase("""{"weight_map":{"a":".."}}""", "not a plain file name")]
    [TestCase("""{"weight_map":{"a":""}}""", "not a plain file name")]
    [TestCase("""{"weight_map":{"a":"one.safetensors\u0000"}}""", "not a plain file name")]
    [TestCase("""{"weight_map":{"a":"one.safetensors","a":"two.safetensors"}}""", "'a': occurs twice")]
    [TestCase("""{"weight_map":{"a":1}}""", "must be a text")]
    [TestCase("""{"weight_map":{"a":null}}""", "weight_map")]
    [TestCase("""{"weight_map":[]}""", "'weight_map'")]
    [TestCase("""{"weight_map":{}}""", "names no tensor")]
    [TestCase("""{}""", "'weight_map': is missing")]
    [TestCase("""[""", "not valid JSON")]
    public void A_wrong_index_is_refused_with_the_reason(string index, string expected)
    {
        using TempFolder folder = TwoShards(index);
        Assert.That(() => WeightFiles.Open(folder.Path), Throws.TypeOf<ModelFormatException>().With.Message.Contains(expected));
    }

    [Test]
    public void A_tensor_in_two_shards_is_refused()
    {
        using TempFolder folder = TwoShards(Index);
        SafetensorsWriter.Write(folder.File("two.safetensors"), [TensorToWrite.Of("b", [1f]), TensorToWrite.Of("a", [1f])]);
        Assert.That(() => WeightFiles.Open(folder.Path), Throws.TypeOf<ModelFormatException>().With.Message.Contains("'a': is also in one.safetensors"));
    }

    [Test]
    public void A_truncated_shard_is_refused_with_its_name_and_a_tensor()
    {
        using TempFolder folder = TwoShards(Index);
        byte[] bytes = File.ReadAllBytes(folder.File("two.safetensors"));
        folder.Write("two.safetensors", bytes[..^3]);
        Assert.That(() => WeightFiles.Open(folder.Path), Throws.TypeOf<ModelFormatException>().With.Message.Contains("two.safetensors: 'b': its data ends at byte 8"));
    }

    [Test]
    public void A_folder_without_weights_says_what_was_looked_for()
    {
        using var folder = new TempFolder();
        Assert.That(
            () => WeightFiles.Open(folder.Path),
            Throws.TypeOf<ModelFormatException>().With.Message.Contains("model.safetensors and model.safetensors.index.json"));
        folder.Write("pytorch_model.bin", "x");
        Assert.That(() => WeightFiles.Open(folder.Path), Throws.TypeOf<ModelFormatException>().With.Message.Contains("convert it to safetensors"));
        Assert.That(() => WeightFiles.Open(folder.File("none")), Throws.TypeOf<ModelFormatException>().With.Message.Contains("is not a folder"));
    }

    [Test]
    public void Disposing_twice_does_nothing_and_later_use_is_refused(
        [Values] bool map)
    {
        using TempFolder folder = TwoShards(Index);
        WeightFiles weights = WeightFiles.Open(folder.Path, map);
        weights.Dispose();
        Assert.That(weights.Dispose, Throws.Nothing);
        Assert.That(() => weights.TryGet("a", out _), Throws.TypeOf<ObjectDisposedException>());
    }

    private static TempFolder TwoShards(string index)
    {
        var folder = new TempFolder();
        SafetensorsWriter.Write(folder.File("one.safetensors"), [TensorToWrite.Of("a", [1f])]);
        SafetensorsWriter.Write(folder.File("two.safetensors"), [TensorToWrite.Of("b", [2f, 3f])]);
        folder.Write("model.safetensors.index.json", index);
        return folder;
    }
}
