using System.Diagnostics;
using ParVts.Engine.Generation;
using ParVts.Engine.Tests.Scheduling;

namespace ParVts.Engine.Tests.Generation;

/// <summary>Memory cap, deadline, cancellation from another thread, warnings: what the options promise.</summary>
internal sealed class LimitTests
{
    [Test]
    public void The_cap_that_a_plan_names_is_enough_and_a_byte_less_is_not()
    {
        using var model = new TinyModel(51);
        Prompt prompt = model.Prompt();
        var options = new GenerationOptions { MaxTokens = 8 };

        // What the process holds beside differs from one opening to the next; the run's own bytes do not.
        long total;
        using (Session session = model.Engine.CreateSession())
            total = session.Plan(prompt, options).Total;
        using VlmEngine capped = VlmEngine.Open(model.Folder, new EngineOptions { MemoryCap = total + (256L << 20) });
        using Session roomy = capped.CreateSession();
        Assert.That(roomy.Generate(prompt, options).Tokens, Is.Not.Empty);

        using VlmEngine tight = VlmEngine.Open(model.Folder, new EngineOptions { MemoryCap = 1 });
        using Session refused = tight.CreateSession();
        InsufficientMemoryException? error = Assert.Throws<InsufficientMemoryException>(() => refused.Generate(prompt, options));
        Assert.That(error!.Cap, Is.EqualTo(1));
        Assert.That(error.Plan!.Total, Is.GreaterThan(1));
        Assert.That(refused.KeyValueBytes, Is.Zero, "nothing was begun");
    }

    [Test]
    public void A_deadline_ends_a_prefill_between_layers_and_the_session_goes_on()
    {
        using var model = new TinyModel(52, layers: 6);
        using Session session = model.Engine.CreateSession();
        Prompt prompt = model.Prompt();
        int layers = 0;
        session.Progress = progress =>
        {
            if (progress.Phase != "prefill")
                return;
            layers = progress.Done;
            Thread.Sleep(60);
        };
        GenerationResult late = session.Generate(prompt, new GenerationOptions { Deadline = TimeSpan.FromMilliseconds(100) });
        session.Progress = null;
        Assert.That(late.Finish, Is.EqualTo(FinishReason.Cancelled));
        Assert.That(late.Tokens, Is.Empty);
        Assert.That(layers, Is.LessThan(6));
        Assert.That(session.Generate(prompt, new GenerationOptions { MaxTokens = 2, Deadline = TimeSpan.FromDays(49), IgnoreEndOfSequence = true }).Tokens, Has.Count.EqualTo(2));
    }

    [Test]
    public void Another_thread_cancels_while_tokens_come()
    {
        using Session session = DemoModel.Engine.CreateSession();
        Prompt prompt = DemoModel.Ask("what is this?", DemoModel.Picture(0));
        var options = new GenerationOptions { MaxTokens = 1800, IgnoreEndOfSequence = true };
        using var stop = new CancellationTokenSource();
        using var started = new ManualResetEventSlim();
        session.Logits = (step, _) =>
        {
            if (step == 3)
                started.Set();
        };
        var canceller = new Thread(() =>
        {
            started.Wait();
            stop.Cancel();
        });
        canceller.Start();
        var watch = Stopwatch.StartNew();
        GenerationResult part = session.Generate(prompt, options, null, stop.Token);
        canceller.Join();
        session.Logits = null;
        Assert.That(part.Finish, Is.EqualTo(FinishReason.Cancelled));
        Assert.That(part.Tokens, Has.Count.InRange(3, 1799));
        Assert.That(watch.Elapsed, Is.LessThan(TimeSpan.FromSeconds(60)));
        Assert.That(session.CachedTokens, Is.EqualTo(prompt.Length + part.Tokens.Count - 1));

        // What was computed is used: the answer goes on where it stopped.
        Prompt longer = DemoModel.Engine.CreatePrompt([.. prompt.Ids, .. part.Tokens], prompt.Images);
        Assert.That(session.Generate(longer, new GenerationOptions { MaxTokens = 1 }).CachedTokens, Is.EqualTo(prompt.Length + part.Tokens.Count - 1));
    }

    [Test]
    public void A_token_that_is_cancelled_already_computes_nothing()
    {
        using var model = new TinyModel(53);
        using Session session = model.Engine.CreateSession();
        GenerationResult none = session.Generate(model.Prompt(), null, null, new CancellationToken(canceled: true));
        Assert.That((none.Finish, none.Tokens.Count, none.Times.Prefill), Is.EqualTo((FinishReason.Cancelled, 0, 0.0)));
    }

    [Test]
    public void A_warning_is_said_once_for_an_engine_and_none_without_cause()
    {
        using var model = new TinyModel(54, hasClassToken: false);
        for (int i = 0; i < 3; i++)
            model.Engine.CreateSession("cls-prune:keep=4").Dispose();
        Assert.That(model.Warnings, Has.Count.EqualTo(1));
        Assert.That(model.Warnings[0], Does.Contain("no class token"));
        using var plain = new TinyModel(54);
        using Session session = plain.Engine.CreateSession("cls-prune:keep=4");
        session.Generate(plain.Prompt(), new GenerationOptions { MaxTokens = 2 });
        Assert.That(plain.Warnings, Is.Empty);
    }
}
