using ParVts.Engine.Formats;
using ParVts.Engine.Generation;
using ParVts.Engine.Scheduling;

namespace ParVts.Engine.Tests.Scheduling;

/// <summary>
/// The decoder of a random model in plain float64 loops, a page long: every row is there in every layer, and functions say which
/// rows a layer computes and who sees whom. It shares nothing with the engine but the reading of tensors.
/// </summary>
internal sealed class PlainDecoder : IDisposable
{
    private readonly SafetensorsFile _file;
    private readonly TextConfig _config;
    private readonly Dictionary<string, double[]> _tensors = [];

    public PlainDecoder(TinyModel model)
    {
        _file = SafetensorsFile.Open(Path.Combine(model.Folder, "model.safetensors"));
        _config = model.Engine.Config.Text;
    }

    public void Dispose() => _file.Dispose();

    /// <summary>The embedding of a token.</summary>
    public double[] Embed(int token) => Tensor("language_model.model.embed_tokens.weight")[(token * _config.HiddenSize)..((token + 1) * _config.HiddenSize)];

    /// <summary>Runs rows, which change, through every layer; their places are their rotary positions.</summary>
    /// <param name="rows">[rows][D].</param>
    /// <param name="computes">(layer, row): the row is computed; else it leaves the layer as it entered.</param>
    /// <param name="sees">(layer, query, key), key at most the query: what attention sees.</param>
    /// <param name="after">Called with the layer and the rows that leave it.</param>
    /// <returns>The last row's logits.</returns>
    public double[] Run(double[][] rows, Func<int, int, bool> computes, Func<int, int, int, bool> sees, Action<int, double[][]>? after = null)
    {
        for (int layer = 0; layer < _config.Layers; layer++)
        {
            string prefix = $"language_model.model.layers.{layer}.";
            double[][] normed = Array.ConvertAll(rows, row => Norm(row, Tensor(prefix + "input_layernorm.weight")));
            double[][] queries = Rotated(normed, prefix + "self_attn.q_proj.weight");
            double[][] keys = Rotated(normed, prefix + "self_attn.k_proj.weight");
            double[][] values = Array.ConvertAll(normed, row => Times(prefix + "self_attn.v_proj.weight", row));
            for (int row = 0; row < rows.Length; row++)
            {
                if (!computes(layer, row))
                    continue;
                double[] attended = Attend(queries[row], keys, values, key => key <= row && sees(layer, row, key));
                rows[row] = Add(rows[row], Times(prefix + "self_attn.o_proj.weight", attended));
                double[] inner = Norm(rows[row], Tensor(prefix + "post_attention_layernorm.weight"));
                double[] gate = Times(prefix + "mlp.gate_proj.weight", inner);
                double[] up = Times(prefix + "mlp.up_proj.weight", inner);
                for (int i = 0; i < up.Length; i++)
                    up[i] *= gate[i] / (1 + Math.Exp(-gate[i]));
                rows[row] = Add(rows[row], Times(prefix + "mlp.down_proj.weight", up));
            }

            after?.Invoke(layer, rows);
        }

        return Times("language_model.lm_head.weight", Norm(rows[^1], Tensor("language_model.model.norm.weight")));
    }

    private double[] Attend(double[] query, double[][] keys, double[][] values, Func<int, bool> sees)
    {
        int size = _config.HeadDim;
        double[] attended = new double[query.Length];
        for (int head = 0; head < _config.Heads; head++)
        {
            int from = head / (_config.Heads / _config.KeyValueHeads) * size;
            double sum = 0;
            for (int key = 0; key < keys.Length; key++)
            {
                if (!sees(key))
                    continue;
                double score = 0;
                for (int i = 0; i < size; i++)
                    score += query[head * size + i] * keys[key][from + i];
                double weight = Math.Exp(score / Math.Sqrt(size));
                sum += weight;
                for (int i = 0; i < size; i++)
                    attended[head * size + i] += weight * values[key][from + i];
            }

            for (int i = 0; i < size && sum > 0; i++)
                attended[head * size + i] /= sum;
        }

        return attended;
    }

    // Halves of a head turn together.
    private double[][] Rotated(double[][] rows, string weight)
    {
        int half = _config.HeadDim / 2;
        double[][] turned = Array.ConvertAll(rows, row => Times(weight, row));
        for (int position = 0; position < turned.Length; position++)
        {
            double[] row = turned[position];
            for (int start = 0; start < row.Length; start += 2 * half)
            {
                for (int i = 0; i < half; i++)
                {
                    (double sin, double cos) = Math.SinCos(position * Math.Pow(10000, -(double)i / half));
                    (double x, double y) = (row[start + i], row[start + half + i]);
                    (row[start + i], row[start + half + i]) = (x * cos - y * sin, y * cos + x * sin);
                }
            }
        }

        return turned;
    }

    private double[] Norm(double[] row, double[] weight)
    {
        double scale = 1 / Math.Sqrt(row.Sum(value => value * value) / row.Length + _config.NormEpsilon);
        return [.. row.Select((value, i) => value * scale * weight[i])];
    }

    private double[] Times(string name, double[] x) => Times(Tensor(name), x);

    /// <summary>A matrix, row by row, times a vector.</summary>
    public static double[] Times(double[] matrix, double[] x)
    {
        double[] product = new double[matrix.Length / x.Length];
        for (int row = 0; row < product.Length; row++)
        {
            for (int i = 0; i < x.Length; i++)
                product[row] += matrix[row * x.Length + i] * x[i];
        }

        return product;
    }

    /// <summary>x·Φ(x), with Φ integrated by Simpson's rule.</summary>
    public static double Gelu(double x)
    {
        const int Parts = 200;
        double step = x / Parts;
        double sum = 0;
        for (int i = 0; i < Parts; i++)
            sum += step / 6 * (Density(i * step) + 4 * Density((i + 0.5) * step) + Density((i + 1) * step));
        return x * (0.5 + sum);

        static double Density(double z) => Math.Exp(-z * z / 2) / Math.Sqrt(2 * Math.PI);
    }

    private static double[] Add(double[] x, double[] y) => [.. x.Select((value, i) => value + y[i])];

    private double[] Tensor(string name)
    {
        if (!_tensors.TryGetValue(name, out double[]? values))
            _tensors[name] = values = _file.Tensors[name].ToDoubles();
        return values;
    }
}

/// <summary>A run and what entered its decoder.</summary>
internal sealed record Watched(Run Run, double[][] Embedded, RowRole[] Roles)
{
    /// <summary>Runs a prompt and keeps the embeddings, the projector's output among them, and what each row is.</summary>
    public static Watched Of(TinyModel model, Prompt prompt, string policy, int steps)
    {
        double[][] embedded = [];
        RowRole[] roles = [];
        Run run = model.Run(prompt, policy, steps, (stage, rows, tensor) =>
        {
            if (stage != "inputs_embeds")
                return;
            embedded = Array.ConvertAll(model.Copy(tensor), row => Array.ConvertAll(row, value => (double)value));
            roles = [.. Enumerable.Range(0, rows.Count).Select(rows.RoleOf)];
        });
        return new Watched(run, embedded, roles);
    }

    /// <summary>The prompt's rows and those of the tokens that were fed up to a step, as new arrays.</summary>
    public double[][] Rows(PlainDecoder plain, int step) =>
        [.. Embedded.Select(row => row.ToArray()), .. Run.Result.Tokens.Take(step).Select(plain.Embed)];

    /// <summary>What a row is; text where it was generated.</summary>
    public RowRole Role(int row) => row < Roles.Length ? Roles[row] : RowRole.Text;
}
