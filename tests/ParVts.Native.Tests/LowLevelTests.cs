using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text.Json;
using ParVts.Engine.Generation;
using ParVts.Engine.Imaging;
using ParVts.Engine.Scheduling.Policies;
using ParVts.Engine.Text;

namespace ParVts.Native.Tests;

/// <summary>The low level through the table: embeddings and keep-lists in; log-probabilities, logits and hidden rows out; saved sessions.</summary>
public sealed unsafe class LowLevelTests
{
    private const string Question = "what color is the circle?";
    private const int NewTokens = 6;

    private ulong _engine;
    private Engine.Generation.Engine _reference = null!;

    [OneTimeSetUp]
    public void Open()
    {
        _engine = Host.OpenEngine();
        _reference = Engine.Generation.Engine.Open(Host.Model);
    }

    [OneTimeTearDown]
    public void Close()
    {
        _reference.Dispose();
        ErrorInfo error = Host.Error();
        Host.Ok(Host.Api->EngineClose(_engine, &error), error);
    }

    [Test]
    public void ProbabilitiesLogitsAndHiddenRowsAreTheEngines()
    {
        const int layer = 2;
        using Session expected = _reference.CreateSession("parvts:keep=36,migrate=4");
        List<float[]> logits = [];
        expected.Logits = (_, row) => logits.Add(row.ToArray());
        GenerationResult reference = expected.Generate(
            ReferencePrompt(), new GenerationOptions { MaxTokens = NewTokens, LogProbabilities = 3, HiddenLayers = [layer, 8] });

        ErrorInfo error = Host.Error();
        ulong session = Host.OpenSession(_engine, "parvts:keep=36,migrate=4");
        s_seen.Clear();
        Host.Ok(Host.Api->SessionSetLogits(session, &See, null, &error), error);
        ulong options = Host.Options("generation", ("max_tokens", NewTokens), ("log_probabilities", 3), ("hidden_layer", layer), ("hidden_layer", 8));
        ulong prompt = Host.Ask(_engine, Question);
        ulong result = Generate(session, prompt, options);
        HiddenRows rows = reference.HiddenRows[0];
        Assert.That(rows.Paths.Distinct().Count(), Is.EqualTo(3), "the layer has two paths and what they share");
        using (Assert.EnterMultipleScope())
        {
            Assert.That(s_seen, Is.EqualTo(logits));
            Assert.That(Floats((target, room, count) => Host.Api->ResultLogProbabilities(result, target, room, count, null)), Is.EqualTo(reference.LogProbabilities!.Chosen.ToArray()));
            for (int step = 0; step < reference.Tokens.Count; step++)
            {
                int[] ids = new int[3];
                float[] values = new float[3];
                nuint count;
                fixed (int* id = ids)
                fixed (float* value = values)
                    Host.Ok(Host.Api->ResultAlternatives(result, step, id, value, 3, &count, &error), error);
                Assert.That(ids, Is.EqualTo(reference.LogProbabilities.TopIds(step).ToArray()));
                Assert.That(values, Is.EqualTo(reference.LogProbabilities.Top(step).ToArray()));
            }

            Assert.That(Floats((target, room, count) => Host.Api->ResultHidden(result, layer, target, room, count, null)), Is.EqualTo(rows.Values.ToArray()));
            int[] tokens = new int[rows.Tokens.Count];
            int[] paths = new int[rows.Tokens.Count];
            nuint found;
            fixed (int* token = tokens, path = paths)
                Host.Ok(Host.Api->ResultHiddenRows(result, layer, token, path, (nuint)tokens.Length, &found, &error), error);
            Assert.That(tokens, Is.EqualTo(rows.Tokens));
            Assert.That(paths, Is.EqualTo(rows.Paths.Select(path => (int)path)));
            Assert.That((Status)Host.Api->ResultHidden(result, 5, null, 0, &found, &error), Is.EqualTo(Status.BadRequest));
            Assert.That(Host.Message(error), Does.Contain("layer 5"));
        }

        Close(session, prompt, result, options);
    }

    [Test]
    public void AKeepListIsThePolicy()
    {
        int[] kept = [3, 70, 71, 143];
        using Session expected = _reference.CreateSession(new KeepListPolicy(kept, 2));
        GenerationResult reference = expected.Generate(ReferencePrompt(), new GenerationOptions { MaxTokens = NewTokens });
        ErrorInfo error = Host.Error();
        ulong session = Host.OpenSession(_engine);
        fixed (int* tokens = kept)
            Host.Ok(Host.Api->SessionSetKeepList(session, tokens, (nuint)kept.Length, 2, &error), error);
        ulong options = Host.Options("generation", ("max_tokens", NewTokens));
        ulong prompt = Host.Ask(_engine, Question);
        ulong result = Generate(session, prompt, options);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(Host.Numbers(Host.Api->ResultTokens, result), Is.EqualTo(reference.Tokens));
            Assert.That(Host.Numbers(Host.Api->SessionKvLengths, session), Is.EqualTo(expected.KeyValueLengths()));
            fixed (int* tokens = kept)
                Assert.That((Status)Host.Api->SessionSetKeepList(session, tokens, 1, 99, &error), Is.EqualTo(Status.BadRequest));
        }

        Close(session, prompt, result, options);
    }

    [Test]
    public void EmbeddingsTakeAPicturesPlace()
    {
        float[] rows = [.. Enumerable.Range(0, 5 * _reference.Config.Text.HiddenSize).Select(i => MathF.Sin(i) * 0.5f)];
        using Session expected = _reference.CreateSession();
        GenerationResult reference = expected.Generate(ReferencePrompt(_reference.PrepareEmbeddings(rows)), new GenerationOptions { MaxTokens = NewTokens });
        ErrorInfo error = Host.Error();
        ulong image, prompt;
        fixed (float* values = rows)
        {
            Assert.That((Status)Host.Api->ImageEmbeddings(_engine, values, (nuint)rows.Length - 1, &image, &error), Is.EqualTo(Status.BadRequest));
            Host.Ok(Host.Api->ImageEmbeddings(_engine, values, (nuint)rows.Length, &image, &error), error);
        }

        Host.Ok(Host.Api->PromptCreate(_engine, null, &prompt, &error), error);
        fixed (byte* role = Host.C("user"), text = Host.C(Question))
        {
            Host.Ok(Host.Api->PromptAddImage(prompt, role, image, &error), error);
            Host.Ok(Host.Api->PromptAddText(prompt, role, text, &error), error);
        }

        ulong session = Host.OpenSession(_engine);
        ulong options = Host.Options("generation", ("max_tokens", NewTokens));
        ulong result = Generate(session, prompt, options);
        Assert.That(Host.Numbers(Host.Api->ResultTokens, result), Is.EqualTo(reference.Tokens));
        Host.Ok(Host.Api->ImageClose(image, &error), error);
        Close(session, prompt, result, options);
    }

    [Test]
    public void ASavedSessionGoesOnInAnother()
    {
        string file = Path.Combine(Path.GetTempPath(), $"parvts-{Guid.NewGuid():N}.safetensors");
        try
        {
            ErrorInfo error = Host.Error();
            ulong options = Host.Options("generation", ("max_tokens", NewTokens));
            ulong prompt = Host.Ask(_engine, Question);
            ulong first = Host.OpenSession(_engine, "parvts:keep=36");
            ulong result = Generate(first, prompt, options);
            ulong second = Host.OpenSession(_engine, "parvts:keep=36");
            ulong other = Host.OpenSession(_engine, "fastv");
            fixed (byte* path = Host.C(file))
            {
                Host.Ok(Host.Api->SessionSave(first, path, &error), error);
                Host.Ok(Host.Api->SessionRestore(second, path, &error), error);
                Assert.That((Status)Host.Api->SessionRestore(other, path, &error), Is.EqualTo(Status.BadFile));
                Assert.That(Host.Message(error), Does.Contain("fastv").And.Contain("parvts"));
            }

            Assert.That(Host.Numbers(Host.Api->SessionKvLengths, second), Is.EqualTo(Host.Numbers(Host.Api->SessionKvLengths, first)));
            Assert.That(Directory.GetFiles(Path.GetDirectoryName(file)!, Path.GetFileName(file) + "*"), Has.Length.EqualTo(1), "nothing beside it");
            ulong again = Generate(second, prompt, options);
            using JsonDocument info = JsonDocument.Parse(Host.Text(Host.Api->ResultInfo, again));
            Assert.That(Host.Numbers(Host.Api->ResultTokens, again), Is.EqualTo(Host.Numbers(Host.Api->ResultTokens, result)));
            Assert.That(info.RootElement.GetProperty("cached_tokens").GetInt32(), Is.GreaterThan(0), info.RootElement.GetRawText());
            Host.Ok(Host.Api->ResultClose(again, &error), error);
            Host.Ok(Host.Api->SessionClose(second, &error), error);
            Host.Ok(Host.Api->SessionClose(other, &error), error);
            Close(first, prompt, result, options);
        }
        finally
        {
            File.Delete(file);
        }
    }

    [Test]
    public void APlanSaysWhatARunTakes()
    {
        ErrorInfo error = Host.Error();
        ulong session = Host.OpenSession(_engine, "parvts:keep=36,migrate=2");
        ulong prompt = Host.Ask(_engine, Question);
        ulong options = Host.Options("generation", ("max_tokens", NewTokens));
        byte[] text = new byte[1 << 20];
        nuint count;
        fixed (byte* json = text)
            Host.Ok(Host.Api->SessionPlan(session, prompt, options, json, (nuint)text.Length, &count, &error), error);
        using JsonDocument plan = JsonDocument.Parse(text.AsMemory(0, (int)count));
        ulong result = Generate(session, prompt, options);
        using JsonDocument run = JsonDocument.Parse(Host.Text(Host.Api->ResultInfo, result));
        using (Assert.EnterMultipleScope())
        {
            Assert.That(plan.RootElement.GetProperty("memory_bytes").GetProperty("planned").GetInt64(), Is.EqualTo(run.RootElement.GetProperty("memory_bytes").GetProperty("planned").GetInt64()));
            foreach (string what in new[] { "rows_by_layer", "kv_rows_by_layer", "flops_by_layer" })
                Assert.That(plan.RootElement.GetProperty("trace").GetProperty(what).GetRawText(), Is.EqualTo(run.RootElement.GetProperty("trace").GetProperty(what).GetRawText()));
        }

        Close(session, prompt, result, options);
    }

    private static readonly List<float[]> s_seen = [];

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static void See(void* user, int step, float* logits, nuint count)
    {
        if (step == s_seen.Count)
            s_seen.Add(new ReadOnlySpan<float>(logits, (int)count).ToArray());
    }

    private delegate int Fill(float* target, nuint room, nuint* count);

    private static float[] Floats(Fill fill)
    {
        nuint count;
        Assert.That((Status)fill(null, 0, &count), Is.EqualTo(Status.TooSmall));
        float[] values = new float[count];
        fixed (float* target = values)
            Assert.That((Status)fill(target, count, &count), Is.EqualTo(Status.Ok));
        return values;
    }

    private Prompt ReferencePrompt(PromptImage? image = null) => _reference.CreatePrompt(
        [new ChatMessage("user", [ChatPart.Image, ChatPart.OfText(Question)])], [image ?? _reference.PrepareImage(ImageDecoder.Load(Host.Picture))]);

    private static ulong Generate(ulong session, ulong prompt, ulong options)
    {
        ErrorInfo error = Host.Error();
        ulong result;
        Host.Ok(Host.Api->Generate(session, prompt, options, null, null, &result, &error), error);
        return result;
    }

    private static void Close(ulong session, ulong prompt, ulong result, ulong options)
    {
        ErrorInfo error = Host.Error();
        Host.Ok(Host.Api->ResultClose(result, &error), error);
        Host.Ok(Host.Api->SessionClose(session, &error), error);
        Host.Ok(Host.Api->PromptClose(prompt, &error), error);
        Host.Ok(Host.Api->OptionsClose(options, &error), error);
    }
}
