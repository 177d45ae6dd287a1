using System.Buffers.Binary;
using System.Text.Json;
using ParVts.Engine.Formats;

namespace ParVts.Engine.Tests.Formats;

/// <summary>Every safetensors file of the golden data, against its header as JsonDocument reads it.</summary>
public class SafetensorsGoldenTests
{
    private static IEnumerable<TestCaseData> Files()
    {
        foreach (string folder in (string[])["backbones", "imaging", "schedules"])
        {
            string? root = TestData.FindGolden(folder);
            if (root is null)
            {
                yield return new TestCaseData(folder).SetArgDisplayNames(folder);
                continue;
            }

            foreach (string file in Directory.EnumerateFiles(root, "*.safetensors", SearchOption.AllDirectories).Order(StringComparer.Ordinal))
                yield return new TestCaseData(file).SetArgDisplayNames(folder + "/" + Path.GetRelativePath(root, file));
        }
    }

    [TestCaseSource(nameof(Files))]
    public void Names_types_shapes_and_bytes_are_those_of_the_file(string file)
    {
        if (!File.Exists(file))
            TestData.Golden(file);
        byte[] bytes = File.ReadAllBytes(file);
        int headerLength = (int)BinaryPrimitives.ReadInt64LittleEndian(bytes);
        using var document = JsonDocument.Parse(bytes.AsMemory(8, headerLength));
        using SafetensorsFile mapped = SafetensorsFile.Open(file);
        using SafetensorsFile copied = SafetensorsFile.Open(file, map: false);

        JsonProperty[] expected = [.. document.RootElement.EnumerateObject().Where(property => property.Name != "__metadata__")];
        Assert.That(mapped.ByteLength, Is.EqualTo(bytes.Length));
        Assert.That(mapped.Tensors.Keys, Is.EquivalentTo(expected.Select(property => property.Name)));
        Assert.That(expected, Is.Not.Empty);
        foreach (JsonProperty property in expected)
        {
            JsonElement offsets = property.Value.GetProperty("data_offsets");
            int begin = 8 + headerLength + offsets[0].GetInt32();
            int end = 8 + headerLength + offsets[1].GetInt32();
            foreach (SafetensorsFile open in (SafetensorsFile[])[mapped, copied])
            {
                StoredTensor tensor = open.Tensors[property.Name];
                Assert.That(tensor.Type.Name(), Is.EqualTo(property.Value.GetProperty("dtype").GetString()));
                Assert.That(tensor.Shape, Is.EqualTo(property.Value.GetProperty("shape").EnumerateArray().Select(extent => extent.GetInt64())));
                Assert.That(Bytes(tensor).SequenceEqual(bytes.AsSpan(begin..end)), Is.True, property.Name);
            }
        }
    }

    [Test]
    public void The_golden_files_are_found()
    {
        string root = TestData.Golden("backbones");
        Assert.That(Directory.EnumerateFiles(root, "*.safetensors", SearchOption.AllDirectories), Is.Not.Empty);
    }

    private static unsafe ReadOnlySpan<byte> Bytes(StoredTensor tensor) => new((void*)tensor.Address, (int)tensor.ByteLength);
}
