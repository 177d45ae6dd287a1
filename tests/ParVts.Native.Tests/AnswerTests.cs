using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using ParVts.Engine.Generation;
using ParVts.Engine.Imaging;
using ParVts.Engine.Text;
using ParVts.Native.Items;

namespace ParVts.Native.Tests;

/// <summary>Answers through the table: the engine's own, however they are asked for.</summary>
public sealed unsafe class AnswerTests
{
    private const string Question = "what color is the circle?";

    private ulong _engine;

    [OneTimeSetUp]
    public void Open() => _engine = Host.OpenEngine();

    [OneTimeTearDown]
    public void Close()
    {
        ErrorInfo error = Host.Error();
        Host.Ok(Host.Api->EngineClose(_engine, &error), error);
    }

    [TestCase("dense")]
    [TestCase("parvts:keep=36")]
    [TestCase("visipruner")]
    public void AnAnswerIsTheEngines(string policy)
    {
        using var engine = Engine.Generation.Engine.Open(Host.Model);
        PromptImage image = engine.PrepareImage(ImageDecoder.Load(Host.Picture));
        using Session reference = engine.CreateSession(policy);
        GenerationResult expected = reference.Generate(
            engine.CreatePrompt([new ChatMessage("user", [ChatPart.Image, ChatPart.OfText(Question)])], [image]), new GenerationOptions { MaxTokens = 8, KeepLogits = true });
        ulong session = Host.OpenSession(_engine, policy);
        ulong prompt = Host.Ask(_engine, Question);
        var pieces = new StringBuilder();
        ulong result = Generate(session, prompt, ("max_tokens", 8), ("keep_logits", 1), pieces);
        using JsonDocument info = JsonDocument.Parse(Host.Text(Host.Api->ResultInfo, result));
        using JsonDocument trace = JsonDocument.Parse(Json(json => ResultJson.WriteTrace(json, expected.Trace)));
        ErrorInfo error = Host.Error();
        float[] logits = new float[engine.Config.Text.VocabularySize];
        nuint count;
        fixed (float* target = logits)
            Host.Ok(Host.Api->ResultLogits(result, target, (nuint)logits.Length, &count, &error), error);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(Host.Text(Host.Api->ResultText, result), Is.EqualTo(expected.Text));
            Assert.That(pieces.ToString(), Is.EqualTo(expected.Text));
            Assert.That(Host.Numbers(Host.Api->ResultTokens, result), Is.EqualTo(expected.Tokens));
            Assert.That(info.RootElement.GetProperty("trace").GetRawText(), Is.EqualTo(trace.RootElement.GetProperty("trace").GetRawText()));
            Assert.That(Host.Numbers(Host.Api->SessionKvLengths, session), Is.EqualTo(reference.KeyValueLengths()));
            Assert.That(logits, Is.EqualTo(expected.PromptLogits));
        }

        Close(session, prompt, result);
    }

    [Test]
    public void PulledPiecesAreThePushedOnes()
    {
        ulong session = Host.OpenSession(_engine, "parvts:keep=36");
        ulong prompt = Host.Ask(_engine);
        var pushed = new StringBuilder();
        ulong whole = Generate(session, prompt, ("max_tokens", 40), ("ignore_eos", 1), pushed);
        ulong stream = OpenStream(session, prompt, 40);
        var pulled = new StringBuilder();
        ErrorInfo error = Host.Error();
        byte* room = stackalloc byte[64];
        nuint count;
        Assert.That((Status)Host.Api->StreamNext(stream, room, 0, &count, &error), Is.EqualTo(Status.TooSmall), "and nothing is lost");
        while (true)
        {
            Host.Ok(Host.Api->StreamNext(stream, room, 64, &count, &error), error);
            if (count == 0)
                break;
            pulled.Append(Encoding.UTF8.GetString(room, (int)count));
        }

        ulong result;
        Host.Ok(Host.Api->StreamResult(stream, &result, &error), error);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(pulled.ToString(), Is.EqualTo(pushed.ToString()).And.Not.Empty);
            Assert.That(Host.Numbers(Host.Api->ResultTokens, result), Is.EqualTo(Host.Numbers(Host.Api->ResultTokens, whole)).And.Length.EqualTo(40));
        }

        Host.Ok(Host.Api->StreamClose(stream, &error), error);
        Close(session, prompt, result, whole);
    }

    [Test]
    public void AStreamThatIsClosedEarlyStopsItsRun()
    {
        (ulong session, ulong prompt, ulong stream) = BeginLongAnswer();
        ErrorInfo error = Host.Error();
        Assert.That((Status)Host.Api->SessionReset(session, &error), Is.EqualTo(Status.Busy), "the run is under way");
        Host.Ok(Host.Api->StreamClose(stream, &error), error);
        Host.Ok(Host.Api->SessionReset(session, &error), error);
        Close(session, prompt);
    }

    // The run waits for somebody to pull; whoever closes the session must not wait for that.
    [Test]
    public void ASessionClosesWhileItsStreamIsFull()
    {
        (ulong session, ulong prompt, ulong stream) = BeginLongAnswer();
        ErrorInfo error = Host.Error();
        Assert.That(SpinWait.SpinUntil(() => Handles.Get<StreamItem>(stream).IsFull, TimeSpan.FromSeconds(60)), "nobody pulls");
        Task<int> closing = Task.Run(() => Host.Api->SessionClose(session, null));
        Assert.That(closing.Wait(TimeSpan.FromSeconds(20)), "closing waits for a reader who does not come");
        Assert.That((Status)closing.Result, Is.EqualTo(Status.Ok));
        Host.Ok(Host.Api->StreamClose(stream, &error), error);
        Host.Ok(Host.Api->PromptClose(prompt, &error), error);
    }

    [Test]
    public void CancellingFromAnotherThreadEndsTheAnswerAndLeavesTheSessionUsable()
    {
        (ulong session, ulong prompt, ulong stream) = BeginLongAnswer();
        ErrorInfo error = Host.Error();
        var other = new Thread(() =>
        {
            ErrorInfo own = Host.Error();
            Host.Ok(Host.Api->SessionCancel(session, &own), own);
        });
        other.Start();
        other.Join();
        ulong result;
        Host.Ok(Host.Api->StreamResult(stream, &result, &error), error);
        using JsonDocument info = JsonDocument.Parse(Host.Text(Host.Api->ResultInfo, result));
        using (Assert.EnterMultipleScope())
        {
            Assert.That(info.RootElement.GetProperty("finish").GetString(), Is.EqualTo("cancelled"));
            Assert.That(info.RootElement.GetProperty("tokens").GetArrayLength(), Is.InRange(1, 1499));
        }

        Host.Ok(Host.Api->StreamClose(stream, &error), error);
        ulong after = Generate(session, prompt, ("max_tokens", 2), ("keep_logits", 0));
        Assert.That(Host.Text(Host.Api->ResultText, after), Is.Not.Empty);
        Close(session, prompt, result, after);
    }

    [Test]
    public void ACallbackCancels()
    {
        ulong session = Host.OpenSession(_engine);
        ulong prompt = Host.Ask(_engine);
        ulong options = Host.Options("generation", ("max_tokens", 100), ("ignore_eos", 1));
        ErrorInfo error = Host.Error();
        ulong result;
        Host.Ok(Host.Api->Generate(session, prompt, options, &Stop, null, &result, &error), error);
        using JsonDocument info = JsonDocument.Parse(Host.Text(Host.Api->ResultInfo, result));
        Assert.That(info.RootElement.GetProperty("finish").GetString(), Is.EqualTo("cancelled"));
        Assert.That(info.RootElement.GetProperty("tokens").GetArrayLength(), Is.LessThan(10));
        Close(session, prompt, result);
    }

    // The host ranks as FastV does.
    [Test]
    public void AHostsPolicyDecides()
    {
        ulong prompt = Host.Ask(_engine);
        ulong fastv = Host.OpenSession(_engine, "fastv:layer=2,keep=36");
        ulong host = Host.OpenSession(_engine);
        ErrorInfo error = Host.Error();
        int keep = 36;
        Host.Ok(Host.Api->SessionSetPolicyCallback(host, &KeepBest, &keep, 1, &error), error);
        ulong expected = Generate(fastv, prompt, ("max_tokens", 6), ("keep_logits", 0));
        ulong result = Generate(host, prompt, ("max_tokens", 6), ("keep_logits", 0));
        Assert.That(Host.Numbers(Host.Api->ResultTokens, result), Is.EqualTo(Host.Numbers(Host.Api->ResultTokens, expected)));
        Assert.That(Host.Numbers(Host.Api->SessionKvLengths, host), Is.EqualTo(Host.Numbers(Host.Api->SessionKvLengths, fastv)));
        keep = -1;
        ulong refused;
        Host.Ok(Host.Api->SessionReset(host, &error), error);
        Assert.That((Status)Host.Api->Generate(host, prompt, 0, null, null, &refused, &error), Is.EqualTo(Status.BadRequest));
        Assert.That(Host.Message(error), Does.Contain("layer 2").And.Contain("7"));
        Close(host, prompt, result, expected);
    }

    [Test]
    public void SessionsOutliveTheirEngine()
    {
        ulong engine = Host.OpenEngine();
        ulong session = Host.OpenSession(engine);
        ulong prompt = Host.Ask(engine);
        ErrorInfo error = Host.Error();
        ulong made = Generate(session, prompt, ("max_tokens", 1), ("keep_logits", 0));
        Host.Ok(Host.Api->EngineClose(engine, &error), error);
        ulong result = Generate(session, prompt, ("max_tokens", 2), ("keep_logits", 0));
        Assert.That(Host.Text(Host.Api->ResultText, result), Is.Not.Empty);
        Assert.That((Status)Host.Api->EngineClose(engine, &error), Is.EqualTo(Status.BadHandle));
        Assert.That(Host.Message(error), Does.Contain("engine").And.Contain("closed"));
        Close(session, prompt, result, made);
    }

    [Test]
    public void ErrorsSayWhatToDo()
    {
        ErrorInfo error = Host.Error();
        ulong session;
        fixed (byte* policy = Host.C("parvts:kep=3"))
            Assert.That((Status)Host.Api->SessionOpen(_engine, policy, &session, &error), Is.EqualTo(Status.BadRequest));
        Assert.That(Host.Message(error), Does.Contain("kep").And.Contain("keep"));
        ulong options = Host.Options("generation");
        fixed (byte* name = Host.C("max_token"))
            Assert.That((Status)Host.Api->OptionsSetInt(options, name, 3, &error), Is.EqualTo(Status.InvalidArgument));
        Assert.That(Host.Hint(error), Does.Contain("max_tokens"));
        fixed (byte* name = Host.C("top_p"))
            Assert.That((Status)Host.Api->OptionsSetReal(options, name, 3, &error), Is.EqualTo(Status.InvalidArgument));
        Assert.That(Host.Message(error), Does.Contain("above 0 and at most 1"));
    }

    private static ulong Generate(ulong session, ulong prompt, (string, long) first, (string, long) second, StringBuilder? pieces = null)
    {
        ulong options = Host.Options("generation", first, second);
        ErrorInfo error = Host.Error();
        ulong result;
        GCHandle handle = GCHandle.Alloc(pieces ?? new StringBuilder());
        Host.Ok(Host.Api->Generate(session, prompt, options, &Append, (void*)GCHandle.ToIntPtr(handle), &result, &error), error);
        handle.Free();
        Host.Ok(Host.Api->OptionsClose(options, &error), error);
        return result;
    }

    // A stream of an answer that goes on for long, whose first piece was pulled.
    private (ulong Session, ulong Prompt, ulong Stream) BeginLongAnswer()
    {
        ulong session = Host.OpenSession(_engine);
        ulong prompt = Host.Ask(_engine);
        ulong stream = OpenStream(session, prompt, 1500);
        ErrorInfo error = Host.Error();
        byte* room = stackalloc byte[256];
        nuint count;
        Host.Ok(Host.Api->StreamNext(stream, room, 256, &count, &error), error);
        return (session, prompt, stream);
    }

    private static ulong OpenStream(ulong session, ulong prompt, long tokens)
    {
        ErrorInfo error = Host.Error();
        ulong stream;
        ulong options = Host.Options("generation", ("max_tokens", tokens), ("ignore_eos", 1));
        Host.Ok(Host.Api->StreamOpen(session, prompt, options, &stream, &error), error);
        Host.Ok(Host.Api->OptionsClose(options, &error), error);
        return stream;
    }

    private static void Close(ulong session, ulong prompt, params ReadOnlySpan<ulong> results)
    {
        ErrorInfo error = Host.Error();
        Host.Ok(Host.Api->SessionClose(session, &error), error);
        Host.Ok(Host.Api->PromptClose(prompt, &error), error);
        foreach (ulong result in results)
            Host.Ok(Host.Api->ResultClose(result, &error), error);
    }

    private static string Json(Action<Utf8JsonWriter> members) => Caller.Json(members);

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static int Append(void* user, byte* text, nuint bytes)
    {
        ((StringBuilder)GCHandle.FromIntPtr((nint)user).Target!).Append(Encoding.UTF8.GetString(text, (int)bytes));
        return text[bytes];
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static int Stop(void* user, byte* text, nuint bytes) => 1;

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static int KeepBest(void* user, int layer, int layers, int* tokens, float* scores, byte* keep, nuint count)
    {
        int most = *(int*)user;
        if (layer != 2)
            return 0;
        if (most < 0)
            return 7;
        int[] order = [.. Enumerable.Range(0, (int)count).OrderByDescending(i => scores[i]).ThenBy(i => i)];
        foreach (int place in order[most..])
            keep[place] = 0;
        return 0;
    }
}
