using ParVts.Engine.Formats;

namespace ParVts.Engine.Tests;

/// <summary>A safetensors file of expected values.</summary>
internal sealed class GoldenFile(string path) : IDisposable
{
    private readonly SafetensorsFile _file = SafetensorsFile.Open(path);

    public bool Has(string name) => _file.Tensors.ContainsKey(name);

    public IEnumerable<string> Names => _file.Tensors.Keys;

    public long[] Shape(string name) => _file.Tensors[name].Shape;

    public float[] Floats(string name) => _file.Tensors[name].ToFloats();

    public int[] Integers(string name) => Array.ConvertAll(_file.Tensors[name].ToIntegers(), value => (int)value);

    public void Dispose() => _file.Dispose();

    /// <summary>
    /// The largest difference of two arrays; infinite where anything is not a number or the lengths differ.
    /// </summary>
    public static double Distance(ReadOnlySpan<float> expected, ReadOnlySpan<float> actual)
    {
        if (expected.Length != actual.Length)
            return double.PositiveInfinity;
        double largest = 0;
        for (int i = 0; i < expected.Length; i++)
        {
            double difference = Math.Abs((double)expected[i] - actual[i]);
            if (!(difference <= largest))
                largest = double.IsNaN(difference) ? double.PositiveInfinity : difference;
        }

        return largest;
    }
}
