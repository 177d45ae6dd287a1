using ParVts.Engine.Formats;
using ParVts.Engine.Generation;
using ParVts.Engine.Imaging;
using ParVts.Engine.Scheduling;
using ParVts.Runner.Options;

namespace ParVts.Runner.Explaining;

/// <summary>Answers a question under a policy and under the dense one, and puts side by side what they did.</summary>
internal sealed class ExplainRun : IDisposable
{
    private const int TopTokens = 5;

    private readonly Request _request;
    private readonly Session _dense;

    /// <summary>Runs both.</summary>
    /// <exception cref="OperationCanceledException">A run was cut off before its first token.</exception>
    public ExplainRun(Request request)
    {
        _request = request;
        GenerationOptions options = request.Options with { KeepLogits = true };
        Session = request.Engine.CreateSession(request.Policy);
        _dense = request.Engine.CreateSession();
        try
        {
            // The first run of a process reads weights from disk and compiles code; neither time should hold that.
            foreach (Session session in new[] { _dense, Session })
            {
                Finished(Answering.Generate(session, request.Prompt, options with { MaxTokens = 1 }));
                session.Reset();
            }

            DenseResult = Finished(Answering.Generate(_dense, request.Prompt, options));
            Result = Finished(Answering.Generate(Session, request.Prompt, options));
        }
        catch
        {
            Dispose();
            throw;
        }

        Pictures = [.. request.Prompt.Images.Select(request.Engine.ShowImage)];
        Data = Collect();
    }

    /// <summary>The policy's session.</summary>
    public Session Session { get; }

    /// <summary>The policy's answer.</summary>
    public GenerationResult Result { get; }

    /// <summary>The dense policy's answer.</summary>
    public GenerationResult DenseResult { get; }

    /// <summary>The pictures as the model sees them.</summary>
    public IReadOnlyList<RgbImage> Pictures { get; }

    /// <summary>What there is to show.</summary>
    public ExplainData Data { get; }

    public void Dispose()
    {
        Session.Dispose();
        _dense.Dispose();
    }

    private static GenerationResult Finished(GenerationResult result) =>
        result.PromptLogits is null || result.Tokens.Count == 0 ? throw new OperationCanceledException() : result;

    private ExplainData Collect()
    {
        ScheduleTrace trace = Result.Trace;
        ModelConfig config = _request.Engine.Config;
        return new ExplainData
        {
            Model = Path.GetFileName(Path.TrimEndingDirectorySeparator(Path.GetFullPath(_request.Engine.Directory))),
            Device = _request.Engine.DeviceName,
            Policy = Session.Policy,
            Question = _request.Text.Text,
            Answer = Result.Text,
            DenseAnswer = DenseResult.Text,
            Kl = TokenDistribution.Divergence(DenseResult.PromptLogits!, Result.PromptLogits!),
            Top = TokenDistribution.Top(Result.PromptLogits!, TopTokens, _request.Engine.Tokenizer),
            DenseTop = TokenDistribution.Top(DenseResult.PromptLogits!, TopTokens, _request.Engine.Tokenizer),
            PrefillMs = Result.Times.Prefill,
            DensePrefillMs = DenseResult.Times.Prefill,
            Prefix = trace.Prefix,
            Visual = trace.Visual,
            Text = trace.Text,
            Grid = GridOf(config),
            KvRowBytes = trace.KvRowBytes,
            Images = [.. Pictures.Select((picture, i) => new ExplainImage(NameOf(_request.Pictures[i]), ExplainReport.DataUri(picture)))],
            Layers = [.. Enumerable.Range(0, config.Text.Layers).Select(layer => LayerOf(trace, DenseResult.Trace, layer))],
            Events = [.. trace.Events],
        };
    }

    // Pages are passed on: where the file lay is nobody's business.
    private static string NameOf(Picture picture) => picture.Name == "-" ? "standard input" : Path.GetFileName(picture.Name);

    private static ExplainLayer LayerOf(ScheduleTrace trace, ScheduleTrace dense, int layer)
    {
        ExplainCounts counts = CountsOf(trace, layer);
        return new ExplainLayer(counts.Rows, counts.Keys, counts.Pairs, counts.KvRows, counts.Flops, CountsOf(dense, layer));
    }

    private static ExplainCounts CountsOf(ScheduleTrace trace, int layer) => new(
        trace.RowsByLayer[layer],
        trace.KeysByLayer[layer],
        trace.PairsByLayer[layer],
        trace.KvRowsByLayer[layer],
        trace.FlopsByLayer[layer]);

    /// <summary>How a picture's visual tokens lie on it.</summary>
    public static ExplainGrid GridOf(ModelConfig config)
    {
        int side = config.Vision.PatchesPerSide;
        return new ExplainGrid(side, side, config.VisualTokensPerImage - side * side);
    }
}
