using System.Security.Cryptography;
using System.Text;
using ParVts.Engine.Formats;

namespace ParVts.Engine.Generation.Saving;

/// <summary>
/// Tells models apart without reading all of them: config.json, and of each tensor its name, type, shape and some bytes from its beginning,
/// middle and end. Any thread.
/// </summary>
internal static class ModelFingerprint
{
    private const int SampleBytes = 64;

    /// <summary>SHA-256 in hexadecimal digits.</summary>
    /// <param name="config">What config.json held.</param>
    /// <param name="weights">The open weights.</param>
    public static unsafe string Compute(ReadOnlySpan<byte> config, IEnumerable<StoredTensor> weights)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendData(config);
        foreach (StoredTensor tensor in weights.OrderBy(tensor => tensor.Name, StringComparer.Ordinal))
        {
            hash.AppendData(Encoding.UTF8.GetBytes($"\n{tensor.Name} {tensor.Type.Name()} {string.Join(',', tensor.Shape)}\n"));
            var bytes = (byte*)tensor.Address;
            int count = (int)Math.Min(SampleBytes, tensor.ByteLength);
            hash.AppendData(new ReadOnlySpan<byte>(bytes, count));
            hash.AppendData(new ReadOnlySpan<byte>(bytes + (tensor.ByteLength - count) / 2, count));
            hash.AppendData(new ReadOnlySpan<byte>(bytes + tensor.ByteLength - count, count));
        }

        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }
}
