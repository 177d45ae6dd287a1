using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text.Json;
using ParVts.Engine.Imaging;

namespace ParVts.Engine.Tests.Imaging;

/// <summary>Reads what lies in the golden folder "imaging"; a case is skipped, by name, where its file is missing.</summary>
internal static class Goldens
{
    public static readonly ImageDecodeOptions AsStored = new() { ApplyOrientation = false, Transparency = Transparency.Drop };

    public static string Sha256(ReadOnlySpan<byte> bytes) => Convert.ToHexStringLower(SHA256.HashData(bytes));

    public static byte[] PictureBytes(string file) => File.ReadAllBytes(TestData.Golden("images/" + file));

    /// <summary>The elements of an array in one of the folder's JSON files; none where the file is missing.</summary>
    public static IEnumerable<JsonElement> Elements(string file, string array)
    {
        string? path = TestData.FindGolden("imaging/" + file);
        if (path is null)
            return [];
        using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(path));
        return [.. document.RootElement.GetProperty(array).Clone().EnumerateArray()];
    }

    /// <summary>The bytes of a tensor, and its shape.</summary>
    public static (byte[] Bytes, int[] Shape) Tensor(string file, string name) =>
        TryTensor(file, name) ?? throw new AssertionException($"{file} has no tensor '{name}'");

    public static (byte[] Bytes, int[] Shape)? TryTensor(string file, string name)
    {
        byte[] data = File.ReadAllBytes(TestData.Golden("imaging/" + file));
        int length = (int)BinaryPrimitives.ReadInt64LittleEndian(data);
        using JsonDocument header = JsonDocument.Parse(data.AsMemory(8, length));
        if (!header.RootElement.TryGetProperty(name, out JsonElement tensor))
            return null;
        int[] offsets = Integers(tensor.GetProperty("data_offsets"));
        return (data[(8 + length + offsets[0])..(8 + length + offsets[1])], Integers(tensor.GetProperty("shape")));
    }

    public static int[] Integers(JsonElement array) => [.. array.EnumerateArray().Select(e => e.GetInt32())];
}
