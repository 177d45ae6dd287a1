using ParVts.Engine.Generation;

namespace ParVts.Runner.Evaluation;

/// <summary>Makes prompts of questions; keeps the pictures that it used last. One caller at a time.</summary>
internal sealed class QuestionPrompts(InferenceEngine engine, EvaluationData data, EvaluationSettings settings)
{
    // Questions about one picture mostly stand together in a file; this many pictures are kept.
    private const int KeptImages = 64;

    private readonly Dictionary<string, PromptImage> _images = [];

    /// <summary>The prompt of a question: one turn, its picture in front.</summary>
    public Prompt Create(EvaluationQuestion question) =>
        engine.CreatePrompt([PromptText.UserMessage(question.Question, 1)], [Load(question.Image)], settings.Template);

    private PromptImage Load(string name)
    {
        if (_images.TryGetValue(name, out PromptImage? image))
            return image;
        if (_images.Count == KeptImages)
            _images.Clear();
        image = engine.PrepareImage(data.Load(name), settings.Aspect);
        _images.Add(name, image);
        return image;
    }
}
