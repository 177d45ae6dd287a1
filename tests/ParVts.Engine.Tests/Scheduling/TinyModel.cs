using ParVts.Bench;
using ParVts.Engine.Compute;
using ParVts.Engine.Generation;
using ParVts.Engine.Scheduling;
using ParVts.Engine.Tests.Formats;

namespace ParVts.Engine.Tests.Scheduling;

/// <summary>What a run put out: logits of every step, and the rows that entered each layer.</summary>
internal sealed record Run(GenerationResult Result, float[][] Logits, Dictionary<int, LayerRows> Hidden);

/// <summary>The rows entering a layer, in packed order.</summary>
internal sealed record LayerRows(Row[] Rows, RowPath[] Paths, float[][] Values);

/// <summary>A random model of a random shape, with random pictures and prompts; all from one seed.</summary>
internal sealed class TinyModel : IDisposable
{
    /// <summary>
    /// Of the largest value: what float32 sums in another order may differ by after some layers. Stricter than the golden
    /// data's 1e-3 absolute.
    /// </summary>
    public const double Tolerance = 1e-4;

    private readonly TempFolder _folder = new();
    private readonly Random _random;

    // What the run under way computes on: the only queue on which its tensors are known to be ready.
    private ComputeDevice? _queue;

    public TinyModel(int seed, bool hasClassToken = true, Func<ComputeDevice>? openDevice = null, int? layers = null, int? grid = null)
    {
        _random = new Random(seed);
        int kvHeads = _random.Next(1, 3);
        int heads = kvHeads * _random.Next(1, 3);
        var shape = new RandomModelShape
        {
            Layers = _random.Next(2, 7),
            Heads = heads,
            KvHeads = kvHeads,
            Hidden = heads * 32,
            Mlp = _random.Next(20, 100),
            Vocabulary = 97,
            Grid = _random.Next(3, 8),
            VisionHeads = 2,
            VisionLayers = 3,
            Patch = 4,
            HasClassToken = hasClassToken,
            Seed = seed,
            Sharpness = 2,
        };
        shape = shape with { Layers = layers ?? shape.Layers, Grid = grid ?? shape.Grid };
        RandomModel.Write(_folder.Path, shape);
        Engine = VlmEngine.Open(_folder.Path, new EngineOptions { Threads = 2, Warning = Warnings.Add, OpenDevice = openDevice });
    }

    public VlmEngine Engine { get; }

    /// <summary>Where the checkpoint lies.</summary>
    public string Folder => _folder.Path;

    public List<string> Warnings { get; } = [];

    public int Layers => Engine.Config.Text.Layers;

    public int Visual => Engine.Config.VisualTokensPerImage;

    /// <summary>
    /// Text, then each picture with text behind it. Never fewer than 8 rows: below that the CPU's matrix product adds up in
    /// another order, and runs of different lengths could not be compared to the bit.
    /// </summary>
    public Prompt Prompt(int images = 1)
    {
        int side = Engine.Config.Vision.ImageSize;
        var pictures = new List<PromptImage>();
        var ids = new List<int>();
        AddText(ids, _random.Next(4, 8));
        for (int i = 0; i < images; i++)
        {
            float[] pixels = new float[3 * side * side];
            for (int p = 0; p < pixels.Length; p++)
                pixels[p] = (float)(_random.NextDouble() * 4 - 2);
            pictures.Add(new PromptImage(pixels));
            ids.Add(Engine.Config.ImageTokenId);
            AddText(ids, _random.Next(4, 12));
        }

        return Engine.CreatePrompt([.. ids], pictures);
    }

    /// <summary>The prompt with more text behind it.</summary>
    public Prompt Continue(Prompt prompt, IEnumerable<int> ids) =>
        Engine.CreatePrompt([.. prompt.Ids, .. ids], prompt.Images);

    /// <summary>The prompt's text with other pictures in their places.</summary>
    public Prompt WithImages(Prompt prompt, IReadOnlyList<PromptImage> images)
    {
        var ids = new List<int>();
        int image = 0;
        for (int row = 0; row < prompt.Length; row++)
        {
            ids.Add(prompt.Ids[row]);
            if (image < prompt.Images.Count && row == prompt.ImageStarts[image])
                row += prompt.ImageTokens[image++] - 1;
        }

        return Engine.CreatePrompt([.. ids], images);
    }

    /// <summary>The prompt with what the projector makes of its pictures in their places.</summary>
    public Prompt Embedded(Prompt prompt)
    {
        var projected = new List<PromptImage>();
        Run(prompt, "dense", 1, (stage, _, tensor) =>
        {
            if (stage == "projected")
                projected.Add(Engine.PrepareEmbeddings([.. Copy(tensor).SelectMany(row => row)]));
        });
        return WithImages(prompt, projected);
    }

    /// <summary>A session's cache as it is saved.</summary>
    public static byte[] Save(Session session)
    {
        using var stream = new MemoryStream();
        session.Save(stream);
        return stream.ToArray();
    }

    public Run Run(Prompt prompt, string policy, int steps = 1, Action<string, RowBatch, Tensor>? onStage = null) =>
        Run(prompt, PolicyRegistry.Create(policy), steps, onStage);

    /// <param name="prompt">The prompt.</param>
    /// <param name="policy">The policy.</param>
    /// <param name="steps">Tokens to generate.</param>
    /// <param name="onStage">
    /// May change what a stage put out: "inputs_embeds" before the decoder, after the tower's attention was measured, or the
    /// rows that enter a layer.
    /// </param>
    public Run Run(Prompt prompt, VisualTokenPolicy policy, int steps = 1, Action<string, RowBatch, Tensor>? onStage = null)
    {
        using Session session = Engine.CreateSession(policy);
        return Run(session, prompt, steps, onStage);
    }

    public Run Run(Session session, Prompt prompt, int steps = 1, Action<string, RowBatch, Tensor>? onStage = null)
    {
        var logits = new List<float[]>();
        var hidden = new Dictionary<int, LayerRows>();
        _queue = session.Device;
        session.Sink = (stage, tensor) =>
        {
            onStage?.Invoke(stage, session.Rows, tensor);
            if (stage == "logits")
                logits.Add(Copy(tensor)[0]);
            else if (stage.StartsWith("hidden.", StringComparison.Ordinal))
                hidden[int.Parse(stage["hidden.".Length..])] = new LayerRows(session.Rows.Rows.ToArray(), session.Rows.Paths.ToArray(), Copy(tensor));
        };
        GenerationResult result = session.Generate(prompt, new GenerationOptions { MaxTokens = steps, IgnoreEndOfSequence = true });
        return new Run(result, [.. logits], hidden);
    }

    public float[][] Copy(Tensor tensor)
    {
        float[][] rows = new float[tensor.Rows][];
        for (int row = 0; row < rows.Length; row++)
        {
            rows[row] = new float[tensor.Columns];
            (_queue ?? Engine.Device).Download(tensor.Slice(row, 1), rows[row].AsSpan());
        }

        return rows;
    }

    public void Dispose()
    {
        Engine.Dispose();
        _folder.Dispose();
    }

    /// <summary>Replaces the embedded row of a visual token.</summary>
    public void Overwrite(RowBatch rows, Tensor hidden, int visual, Func<float, float> value)
    {
        int row = 0;
        while (rows.Rows[row].Visual != visual)
            row++;
        float[] values = Copy(hidden.Slice(row, 1))[0];
        (_queue ?? Engine.Device).Upload<float>(Array.ConvertAll(values, v => value(v)), hidden.Slice(row, 1));
    }

    private void AddText(List<int> ids, int count)
    {
        for (int i = 0; i < count; i++)
            ids.Add(_random.Next(1, Engine.Config.Text.VocabularySize - 1));
    }
}
