using System.CommandLine;
using System.Diagnostics;
using ParVts.Engine.Generation;
using ParVts.Engine.Imaging;
using ParVts.Engine.Scheduling;
using ParVts.Engine.Text;
using ParVts.Runner.Options;
using ParVts.Runner.Output;

namespace ParVts.Runner;

/// <summary>
/// Turns and pictures so far. Each answer is asked for with the whole conversation; the session computes only what its
/// cache does not hold yet.
/// </summary>
internal sealed class Conversation : IDisposable
{
    private readonly InferenceEngine _engine;
    private readonly Session _session;
    private readonly GenerationOptions _options;
    private readonly string _template;
    private readonly ImageAspect _aspect;
    private readonly List<ChatMessage> _messages = [];
    private readonly List<PromptImage> _images = [];
    private int _waiting;
    private double _imageMilliseconds;

    private Conversation(InferenceEngine engine, Session session, GenerationOptions options, string template, ImageAspect aspect)
    {
        _engine = engine;
        _session = session;
        _options = options;
        _template = template;
        _aspect = aspect;
    }

    /// <summary>The policy in force.</summary>
    public string Policy => _session.Policy;

    /// <summary>What the last prefill did.</summary>
    public ScheduleTrace Trace => _session.Trace;

    /// <summary>Opens the model that the command line names; its pictures belong to the first question.</summary>
    public static Conversation Open(ParseResult parse, RunOptions options)
    {
        GenerationOptions generation = options.Sampling.Read(parse);
        string template = options.Prompt.Template(parse);
        string policy = options.Prompt.Policy(parse);
        _ = PolicyRegistry.Create(policy);
        IReadOnlyList<Picture> pictures = options.Prompt.Pictures(parse);
        InferenceEngine engine = options.Model.Open(parse);
        try
        {
            var conversation = new Conversation(
                engine, engine.CreateSession(policy), generation, template, options.Prompt.Aspect(parse));
            foreach (Picture picture in pictures)
                conversation.Add(picture);
            return conversation;
        }
        catch
        {
            engine.Dispose();
            throw;
        }
    }

    /// <summary>Adds a picture to the next question.</summary>
    public void Add(Picture picture)
    {
        var watch = Stopwatch.StartNew();
        _images.Add(_engine.PrepareImage(picture.Image, _aspect));
        _waiting++;
        _imageMilliseconds += picture.DecodeTime.TotalMilliseconds + watch.Elapsed.TotalMilliseconds;
    }

    /// <summary>Asks; where that fails, the conversation is as it was before.</summary>
    public AnswerReport Ask(string question, TextSink? onText)
    {
        ChatMessage message = PromptText.UserMessage(question, _waiting);
        Prompt prompt = _engine.CreatePrompt([.. _messages, message], _images, _template);
        GenerationResult result = Answering.Generate(_session, prompt, _options, onText);
        _messages.Add(message);
        _messages.Add(PromptText.AssistantMessage(result.Text));
        var report = new AnswerReport(_engine, _session, result, _imageMilliseconds);
        _waiting = 0;
        _imageMilliseconds = 0;
        return report;
    }

    /// <summary>Changes the policy; the cache is filled anew with the next question.</summary>
    public void SetPolicy(string policy) => _session.SetPolicy(policy);

    /// <summary>Forgets every turn and picture.</summary>
    public void Reset()
    {
        _session.Reset();
        _messages.Clear();
        _images.Clear();
        _waiting = 0;
        _imageMilliseconds = 0;
    }

    public void Dispose()
    {
        _session.Dispose();
        _engine.Dispose();
    }
}
