using ParVts.Engine.Generation;

namespace ParVts.Native.Items;

/// <summary>A model. Any thread.</summary>
internal sealed class EngineItem(Engine.Generation.Engine engine) : IHandled
{
    public static HandleKind Kind => HandleKind.Engine;

    /// <summary>The model.</summary>
    public Engine.Generation.Engine Engine => engine;

    public void Dispose() => engine.Dispose();
}

/// <summary>A picture as the model takes it. Any thread.</summary>
internal sealed class ImageItem(PromptImage image) : IHandled
{
    public static HandleKind Kind => HandleKind.Image;

    /// <summary>The picture.</summary>
    public PromptImage Image => image;

    public void Dispose()
    {
    }
}

/// <summary>An answer that is complete. Any thread.</summary>
/// <param name="result">The answer.</param>
/// <param name="json">What there is to say of it, written when it was made: the session's trace changes with its next run.</param>
internal sealed class ResultItem(GenerationResult result, string json) : IHandled
{
    public static HandleKind Kind => HandleKind.Result;

    /// <summary>The answer; its trace is the session's own.</summary>
    public GenerationResult Result => result;

    /// <summary>Everything that is told of it.</summary>
    public string Json => json;

    public void Dispose()
    {
    }
}
