using System.Security.Cryptography;
using ParVts.Engine.Formats;

namespace ParVts.Runner.Evaluation;

/// <summary>Tells two checkpoints apart that lie in folders of the same name.</summary>
internal static class ModelFingerprint
{
    // Samples of a weight file: reading all of it would take longer than many an evaluation.
    private const int SampleBytes = 64 * 1024;
    private const int Samples = 64;

    /// <summary>The folder's name and a few digits that follow from config.json, the tokenizer, and samples of every weight file.</summary>
    public static string Of(string directory)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (string file in Directory.GetFiles(directory).Order(StringComparer.Ordinal))
        {
            if (Path.GetExtension(file) is not (".json" or ".safetensors"))
                continue;
            using FileStream stream = File.OpenRead(file);
            hash.AppendData(System.Text.Encoding.UTF8.GetBytes($"{Path.GetFileName(file)}:{stream.Length};"));
            byte[] sample = new byte[SampleBytes];
            for (int i = 0; i < Samples; i++)
            {
                stream.Position = Math.Max(0, stream.Length - SampleBytes) * i / (Samples - 1);
                int read = stream.ReadAtLeast(sample, SampleBytes, throwOnEndOfStream: false);
                hash.AppendData(sample, 0, read);
                if (stream.Length <= SampleBytes)
                    break;
            }
        }

        return Named(directory, hash.GetHashAndReset());
    }

    /// <summary>The same of a config alone: the name of its folder, or its own where that says more.</summary>
    public static string OfConfig(string path)
    {
        string file = Directory.Exists(path) ? Path.Combine(path, ModelConfigReader.FileName) : path;
        bool plain = Path.GetFileName(file) == ModelConfigReader.FileName;
        return Named(plain ? Path.GetDirectoryName(Path.GetFullPath(file))! : file, SHA256.HashData(File.ReadAllBytes(file)));
    }

    private static string Named(string path, ReadOnlySpan<byte> hash) =>
        $"{Path.GetFileName(Path.TrimEndingDirectorySeparator(Path.GetFullPath(path)))} {Convert.ToHexStringLower(hash[..4])}";
}
