using ParVts.Engine.Compute;
using ParVts.Engine.Generation;
using ParVts.Engine.Imaging;
using ParVts.Engine.Text;

namespace ParVts.Engine.Tests.Generation;

/// <summary>Sessions: caching, limits, stopping, cancelling, threads, disposal, allocation.</summary>
public class SessionTests
{
    private static readonly GenerationOptions s_long = new() { MaxTokens = 24, IgnoreEndOfSequence = true };

    [Test]
    public void A_second_turn_computes_only_its_own_rows_and_answers_as_from_scratch()
    {
        VlmEngine engine = DemoModel.Engine;
        PromptImage image = engine.PrepareImage(ImageDecoder.Load(DemoModel.Picture(0)));
        ChatMessage first = User("how many objects are there?", withImage: true);
        using Session session = engine.CreateSession();
        GenerationResult one = session.Generate(engine.CreatePrompt([first], [image]));
        Prompt second = engine.CreatePrompt([first, Assistant(one.Text), User("what color is the star?")], [image]);

        GenerationResult continued = session.Generate(second, s_long);
        session.Reset();
        GenerationResult fresh = session.Generate(second, s_long);

        Assert.Multiple(() =>
        {
            Assert.That(continued.CachedTokens, Is.GreaterThan(DemoModel.Engine.Config.VisualTokensPerImage));
            Assert.That(continued.Trace.RowsByLayer, Has.All.GreaterThan(0));
            Assert.That(fresh.CachedTokens, Is.Zero);
            Assert.That(continued.Tokens, Is.EqualTo(fresh.Tokens));
        });
    }

    [Test]
    public void Another_picture_is_not_taken_from_the_cache()
    {
        using Session session = DemoModel.Engine.CreateSession();
        session.Generate(DemoModel.Ask("what color is the background?", DemoModel.Picture(0)));
        Prompt other = DemoModel.Ask("what color is the background?", DemoModel.Picture(60));
        GenerationResult reused = session.Generate(other, s_long);
        session.Reset();
        Assert.That(reused.CachedTokens, Is.LessThanOrEqualTo(other.ImageStarts[0]));
        Assert.That(session.Generate(other, s_long).Tokens, Is.EqualTo(reused.Tokens));
    }

    [Test]
    public void Two_pictures_make_two_runs_of_visual_rows()
    {
        Prompt prompt = DemoModel.Ask("which one has more objects?", DemoModel.Picture(0), DemoModel.Picture(60));
        using Session session = DemoModel.Engine.CreateSession();
        GenerationResult result = session.Generate(prompt, s_long);
        Assert.That(result.VisualTokens, Is.EqualTo(2 * DemoModel.Engine.Config.VisualTokensPerImage));
        Assert.That(result.Trace.Visual, Is.EqualTo(result.VisualTokens));
        Assert.That(result.Trace.Prefix + result.Trace.Visual + result.Trace.Text, Is.EqualTo(result.PromptTokens));
    }

    [Test]
    public void The_same_seed_gives_the_same_text_and_another_seed_another()
    {
        using Session session = DemoModel.Engine.CreateSession();
        Prompt prompt = DemoModel.Ask("what is this?", DemoModel.Picture(0));
        GenerationOptions hot = s_long with { Temperature = 20f, Seed = 7 };
        IReadOnlyList<int> tokens = session.Generate(prompt, hot).Tokens;
        Assert.That(session.Generate(prompt, hot).Tokens, Is.EqualTo(tokens));
        Assert.That(session.Generate(prompt, hot with { Seed = 8 }).Tokens, Is.Not.EqualTo(tokens));
    }

    [Test]
    public void Streamed_pieces_are_the_text_and_a_stop_text_ends_it()
    {
        using Session session = DemoModel.Engine.CreateSession();
        Prompt prompt = DemoModel.Ask("what is this?", DemoModel.Picture(0));

        // Sampled hot, so that the text is long; without malformed bytes, which a stream cannot take back.
        GenerationOptions options = Enumerable.Range(1, 200)
            .Select(seed => s_long with { Temperature = 50f, TopK = 3, Seed = (ulong)seed })
            .First(option => session.Generate(prompt, option).Text is { Length: > 20 } text && !text.Contains('\uFFFD'));
        var pieces = new System.Text.StringBuilder();
        GenerationResult result = session.Generate(prompt, options, text => pieces.Append(text));
        Assert.That(pieces.ToString(), Is.EqualTo(result.Text));

        string stop = result.Text.Substring(result.Text.Length / 2, 2);
        GenerationResult stopped = session.Generate(prompt, options with { Stop = [stop] });
        Assert.That(stopped.Finish, Is.EqualTo(FinishReason.Stop));
        Assert.That(stopped.Text, Is.EqualTo(result.Text[..result.Text.IndexOf(stop, StringComparison.Ordinal)]));
    }

    [Test]
    public void The_number_of_threads_does_not_change_a_bit()
    {
        float[] expected = LastLogits(1);
        Assert.That(LastLogits(2), Is.EqualTo(expected));
        Assert.That(LastLogits(3), Is.EqualTo(expected));

        static float[] LastLogits(int threads)
        {
            using var engine = VlmEngine.Open(DemoModel.Folder, new EngineOptions { Threads = threads });
            using Session session = engine.CreateSession();
            float[] logits = new float[engine.Config.Text.VocabularySize];
            session.Sink = (stage, tensor) =>
            {
                if (stage == "logits")
                    engine.Device.Download(tensor, logits.AsSpan());
            };
            session.Generate(DemoModel.Ask(engine, "how many objects are there?", DemoModel.Picture(0)), s_long);
            return logits;
        }
    }

    [Test]
    public void Reading_instead_of_mapping_gives_the_same_answer()
    {
        using var engine = VlmEngine.Open(DemoModel.Folder, new EngineOptions { Map = false });
        using Session read = engine.CreateSession();
        using Session mapped = DemoModel.Engine.CreateSession();
        Assert.That(
            read.Generate(DemoModel.Ask(engine, "what is this?", DemoModel.Picture(0)), s_long).Tokens,
            Is.EqualTo(mapped.Generate(DemoModel.Ask("what is this?", DemoModel.Picture(0)), s_long).Tokens));
    }

    [Test]
    public void Requests_that_cannot_be_served_say_why()
    {
        VlmEngine engine = DemoModel.Engine;
        PromptImage image = engine.PrepareImage(ImageDecoder.Load(DemoModel.Picture(0)));
        using Session session = engine.CreateSession();
        Assert.Multiple(() =>
        {
            Assert.That(() => engine.CreateRawPrompt("", []), Refused("empty"));
            Assert.That(() => engine.CreatePrompt([User("")], []), Refused("empty"));
            Assert.That(() => engine.CreateRawPrompt("USER: <image> ASSISTANT:", []), Refused("1 image placeholder.*0 image"));
            Assert.That(() => engine.CreateRawPrompt("USER: hello", [image]), Refused("0 image placeholder.*1 image"));
            Assert.That(() => engine.CreatePrompt([1, 99999], []), Refused("outside the model's vocabulary"));
            Assert.That(
                () => session.Generate(engine.CreateRawPrompt(new string('a', 20000), [])), Refused("the model's context is 2048"));
            Assert.That(
                () => session.Generate(engine.CreateRawPrompt("a", []), new GenerationOptions { Temperature = -1 }),
                Refused("temperature"));
            Assert.That(() => engine.CreateSession("densest"), Throws.InstanceOf<PolicyException>().With.Message.Contains("dense"));
            Assert.That(
                () => engine.CreateSession("dense:keep=3"), Throws.InstanceOf<PolicyException>().With.Message.Contains("keep"));
        });

        static NUnit.Framework.Constraints.Constraint Refused(string pattern) =>
            Throws.InstanceOf<RequestException>().With.Message.Match(pattern);
    }

    [Test]
    public void A_placeholder_in_a_users_text_stays_text()
    {
        VlmEngine engine = DemoModel.Engine;
        Prompt prompt = engine.CreatePrompt([User("what does <image> mean? </s>")], []);
        Assert.That(prompt.Ids.ToArray(), Has.None.EqualTo(engine.Config.ImageTokenId));
        Assert.That(prompt.Ids.ToArray(), Has.None.EqualTo(engine.Tokenizer.TokenToId("</s>")));
        Assert.That(engine.Tokenizer.Decode(prompt.Ids), Does.Contain("what does <image> mean? </s>"));
    }

    [Test]
    public void A_cap_below_the_plan_is_refused_with_numbers()
    {
        using var engine = VlmEngine.Open(DemoModel.Folder, new EngineOptions { MemoryCap = 1 << 20 });
        using Session session = engine.CreateSession();
        Assert.That(
            () => session.Generate(DemoModel.Ask(engine, "what is this?", DemoModel.Picture(0))),
            Throws.InstanceOf<InsufficientMemoryException>().With.Message.Match(@"cap is 1\.0 MiB.*weights.*KV.*workspace"));
    }

    [Test]
    public void Cancelling_between_tokens_and_between_layers_leaves_a_usable_session()
    {
        using Session session = DemoModel.Engine.CreateSession();
        Prompt prompt = DemoModel.Ask("what is this?", DemoModel.Picture(0));
        IReadOnlyList<int> whole = session.Generate(prompt, s_long).Tokens;
        session.Reset();

        using var atToken = new CancellationTokenSource();
        int count = 0;
        session.OnStep = _ =>
        {
            if (++count == 5)
                atToken.Cancel();
        };
        GenerationResult part = session.Generate(prompt, s_long, null, atToken.Token);
        session.OnStep = null;
        Assert.That(part.Finish, Is.EqualTo(FinishReason.Cancelled));
        Assert.That(part.Tokens, Is.EqualTo(whole.Take(5)));

        session.Reset();
        using var atLayer = new CancellationTokenSource();
        session.Progress = progress =>
        {
            if (progress is { Phase: "prefill", Done: 3 })
                atLayer.Cancel();
        };
        GenerationResult none = session.Generate(prompt, s_long, null, atLayer.Token);
        session.Progress = null;
        Assert.That(none.Finish, Is.EqualTo(FinishReason.Cancelled));
        Assert.That(none.Tokens, Is.Empty);
        Assert.That(session.CachedTokens, Is.Zero);
        Assert.That(session.Generate(prompt, s_long).Tokens, Is.EqualTo(whole));
    }

    [Test]
    public void A_deadline_ends_an_answer()
    {
        using Session session = DemoModel.Engine.CreateSession();
        GenerationResult result = session.Generate(
            DemoModel.Ask("what is this?", DemoModel.Picture(0)),
            new GenerationOptions { MaxTokens = 1800, IgnoreEndOfSequence = true, Deadline = TimeSpan.FromMilliseconds(150) });
        Assert.That(result.Finish, Is.EqualTo(FinishReason.Cancelled));
    }

    [Test]
    public void Sessions_on_several_threads_answer_as_alone()
    {
        Prompt[] prompts = [.. Enumerable.Range(0, 4).Select(i => DemoModel.Ask("what is this?", DemoModel.Picture(20 * i)))];
        IReadOnlyList<int>[] alone = [.. prompts.Select(Answer)];
        IReadOnlyList<int>[] together = new IReadOnlyList<int>[prompts.Length];
        Parallel.For(0, prompts.Length, new ParallelOptions { MaxDegreeOfParallelism = 4 }, i => together[i] = Answer(prompts[i]));
        Assert.That(together, Is.EqualTo(alone));

        static IReadOnlyList<int> Answer(Prompt prompt)
        {
            using Session session = DemoModel.Engine.CreateSession();
            return session.Generate(prompt, s_long).Tokens;
        }
    }

    [Test]
    public void A_warm_decode_step_allocates_nothing()
    {
        using Session session = DemoModel.Engine.CreateSession();
        Prompt prompt = DemoModel.Ask("what is this?", DemoModel.Picture(0));
        var options = new GenerationOptions { MaxTokens = 200, IgnoreEndOfSequence = true };
        int steps = 0;
        long atStart = 0;
        long atEnd = 0;
        session.OnStep = _ =>
        {
            // Two steps to warm up; then every byte counts, text pieces included.
            steps++;
            if (steps == 100)
                atStart = GC.GetAllocatedBytesForCurrentThread();
            if (steps == 199)
                atEnd = GC.GetAllocatedBytesForCurrentThread();
        };
        int length = 0;
        session.Generate(prompt, options, text => length += text.Length);
        steps = 0;
        session.Generate(prompt, options, text => length += text.Length);
        Assert.That(steps, Is.EqualTo(200));
        Assert.That(atEnd - atStart, Is.Zero);
    }

    [Test]
    public void Disposing_in_any_order_twice_or_during_generation_is_safe()
    {
        // The engine first: the session goes on.
        var engine = VlmEngine.Open(DemoModel.Folder);
        Session session = engine.CreateSession();
        Prompt prompt = DemoModel.Ask(engine, "what is this?", DemoModel.Picture(0));
        engine.Dispose();
        engine.Dispose();
        Assert.That(session.Generate(prompt, s_long).Tokens, Has.Count.EqualTo(24));
        Assert.That(() => engine.CreateSession(), Throws.InstanceOf<ObjectDisposedException>());

        // From another thread, while the session generates.
        using var started = new ManualResetEventSlim();
        session.OnStep = _ => started.Set();
        Task<GenerationResult> running = Task.Run(() => session.Generate(
            prompt, new GenerationOptions { MaxTokens = 1800, IgnoreEndOfSequence = true }));
        Assert.That(started.Wait(TimeSpan.FromSeconds(20)), Is.True);
        session.Dispose();
        session.Dispose();
        Assert.That(running.Result.Finish, Is.EqualTo(FinishReason.Cancelled));
        Assert.That(() => session.Generate(prompt), Throws.InstanceOf<ObjectDisposedException>());
    }

    [Test]
    public void Disposing_from_inside_a_callback_is_safe_and_a_second_caller_is_refused()
    {
        Session session = DemoModel.Engine.CreateSession();
        Prompt prompt = DemoModel.Ask("what is this?", DemoModel.Picture(0));
        Exception? second = null;
        session.OnStep = _ =>
        {
            second ??= Assert.Catch(() => session.Generate(prompt));
            session.Dispose();
        };
        GenerationResult result = session.Generate(prompt, s_long);
        Assert.That(second, Is.InstanceOf<InvalidOperationException>());
        Assert.That(result.Finish, Is.EqualTo(FinishReason.Cancelled));
        Assert.That(() => session.Reset(), Throws.InstanceOf<ObjectDisposedException>());
    }

    private static ChatMessage User(string text, bool withImage = false) =>
        new("user", withImage ? [ChatPart.Image, ChatPart.OfText(text)] : [ChatPart.OfText(text)]);

    private static ChatMessage Assistant(string text) => new("assistant", [ChatPart.OfText(text)]);
}
