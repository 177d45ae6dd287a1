using ParVts.Engine.Formats;
using ParVts.Engine.Scheduling;

namespace ParVts.Engine.Tests.Scheduling;

/// <summary>
/// A decoder layer of a <see cref="TinyModel"/> in float64, written down from its equations: what each row sees, and what a visual token
/// adds to a row's attention output.
/// </summary>
internal sealed class LayerTruth
{
    private readonly TextConfig _config;
    private readonly Dictionary<string, double[][]> _weights = [];
    private readonly IReadOnlyList<float> _frequencies;
    private readonly double[][] _hidden;
    private readonly double[][] _queries;
    private readonly double[][] _keys;
    private readonly double[][] _values;

    /// <summary>Projects the rows that enter a layer.</summary>
    public LayerTruth(TinyModel model, int layer, LayerRows rows)
    {
        _config = model.Engine.Config.Text;
        _frequencies = model.Engine.PolicyModel.RopeFrequencies;
        using (var file = new GoldenFile(Path.Combine(model.Folder, "model.safetensors")))
        {
            string prefix = $"language_model.model.layers.{layer}.";
            foreach (string name in file.Names.Where(name => name.StartsWith(prefix, StringComparison.Ordinal)))
                _weights[name[prefix.Length..].Replace(".weight", "", StringComparison.Ordinal)] = Matrix(file.Floats(name), (int)file.Shape(name)[^1]);
        }

        _hidden = [.. rows.Values.Select(row => Array.ConvertAll(row, value => (double)value))];
        double[][] normed = [.. _hidden.Select(row => Norm(row, "input_layernorm"))];
        _queries = [.. normed.Select((row, i) => Rotate(Times("self_attn.q_proj", row), rows.Rows[i].Temporal))];
        _keys = [.. normed.Select((row, i) => Rotate(Times("self_attn.k_proj", row), rows.Rows[i].Temporal))];
        _values = [.. normed.Select(row => Times("self_attn.v_proj", row))];
    }

    /// <summary>A row's probabilities, [head][key]; zero where it does not see a key.</summary>
    public double[][] Probabilities(int row, Func<int, bool> sees)
    {
        double[][] probabilities = new double[_config.Heads][];
        for (int head = 0; head < probabilities.Length; head++)
        {
            double[] weights = [.. Enumerable.Range(0, _keys.Length).Select(key => key <= row && sees(key) ? Math.Exp(Score(row, key, head)) : 0)];
            double sum = weights.Sum();
            probabilities[head] = Array.ConvertAll(weights, weight => weight / sum);
        }

        return probabilities;
    }

    /// <summary>What a key adds to a row's attention output: its heads side by side.</summary>
    public double[] Adds(double[][] probabilities, int key)
    {
        int size = _config.HeadDim;
        int group = _config.Heads / _config.KeyValueHeads;
        return [.. Enumerable.Range(0, _config.Heads * size).Select(d => probabilities[d / size][key] * _values[key][d / size / group * size + d % size])];
    }

    /// <summary>A row as it leaves the layer.</summary>
    /// <param name="row">The row.</param>
    /// <param name="sees">Keys that are in its softmax.</param>
    /// <param name="valued">Of these, keys that add their values.</param>
    public double[] Leaves(int row, Func<int, bool> sees, Func<int, bool> valued)
    {
        double[][] probabilities = Probabilities(row, sees);
        double[] attended = new double[_config.Heads * _config.HeadDim];
        for (int key = 0; key <= row; key++)
        {
            if (valued(key))
                attended = Sum(attended, Adds(probabilities, key));
        }

        double[] hidden = Sum(_hidden[row], Times("self_attn.o_proj", attended));
        double[] normed = Norm(hidden, "post_attention_layernorm");
        double[] up = Times("mlp.up_proj", normed);
        double[] inner = [.. Times("mlp.gate_proj", normed).Select((gate, i) => gate / (1 + Math.Exp(-gate)) * up[i])];
        return Sum(hidden, Times("mlp.down_proj", inner));
    }

    private double Score(int row, int key, int head)
    {
        int size = _config.HeadDim;
        int group = _config.Heads / _config.KeyValueHeads;
        return Enumerable.Range(0, size).Sum(d => _queries[row][head * size + d] * _keys[key][head / group * size + d]) / Math.Sqrt(size);
    }

    private double[] Rotate(double[] row, int position)
    {
        int size = _config.HeadDim;
        double[] rotated = new double[row.Length];
        for (int d = 0; d < row.Length; d++)
        {
            int place = d % size;
            double angle = position * (double)_frequencies[place % (size / 2)];
            double other = place < size / 2 ? -row[d + size / 2] : row[d - size / 2];
            rotated[d] = row[d] * Math.Cos(angle) + other * Math.Sin(angle);
        }

        return rotated;
    }

    private double[] Norm(double[] row, string name)
    {
        double scale = 1 / Math.Sqrt(row.Average(value => value * value) + _config.NormEpsilon);
        return [.. row.Select((value, d) => value * scale * _weights[name][0][d])];
    }

    private double[] Times(string name, double[] row) => [.. _weights[name].Select(line => line.Zip(row).Sum(pair => pair.First * pair.Second))];

    private static double[] Sum(double[] a, double[] b) => [.. a.Zip(b).Select(pair => pair.First + pair.Second)];

    private static double[][] Matrix(float[] values, int columns) =>
        [.. values.Chunk(columns).Select(line => Array.ConvertAll(line, value => (double)value))];
}
