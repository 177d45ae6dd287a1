using ParVts.Engine.Generation;
using ParVts.Engine.Scheduling;
using ParVts.Engine.Tests.Scheduling;

namespace ParVts.Engine.Tests.Generation;

/// <summary>What a run hands out beside its text: logits, log-probabilities, hidden rows.</summary>
internal sealed class OutputTests
{
    private const int Steps = 5;

    [Test]
    public void Log_probabilities_are_of_the_raw_logits([Values(0f, 3f)] float temperature, [Values(0, 1, 6)] int top)
    {
        using var model = new TinyModel(11);
        Prompt prompt = model.Prompt();
        using Session session = model.Engine.CreateSession("fastv:layer=1,keep=0.5");
        var raw = new List<float[]>();
        session.Logits = (step, logits) =>
        {
            Assert.That(step, Is.EqualTo(raw.Count));
            raw.Add(logits.ToArray());
        };
        var options = new GenerationOptions
        {
            MaxTokens = Steps,
            IgnoreEndOfSequence = true,
            Temperature = temperature,
            RepetitionPenalty = 1.7f,
            TopK = 40,
            Seed = 5,
            LogProbabilities = top,
            KeepLogits = true,
        };
        GenerationResult result = session.Generate(prompt, options);
        LogProbabilities given = result.LogProbabilities!;
        Assert.That((given.Tokens, given.Alternatives, raw.Count), Is.EqualTo((Steps, top, Steps)));
        Assert.That(raw[0], Is.EqualTo(result.PromptLogits));
        for (int step = 0; step < Steps; step++)
        {
            double[] expected = LogSoftmax(raw[step]);
            int[] order = [.. Enumerable.Range(0, expected.Length).OrderByDescending(id => raw[step][id]).ThenBy(id => id).Take(top)];
            Assert.That(given.Chosen[step], Is.EqualTo(expected[result.Tokens[step]]).Within(1e-5), $"step {step}");
            Assert.That(given.TopIds(step).ToArray(), Is.EqualTo(order), $"step {step}");
            Assert.That(given.Top(step).ToArray(), Is.EqualTo(order.Select(id => expected[id]).ToArray()).Within(1e-5), $"step {step}");
        }

        Assert.That(() => given.TopIds(Steps).Length, Throws.InstanceOf<ArgumentOutOfRangeException>());

        // Looking changes nothing.
        session.Logits = null;
        session.Reset();
        GenerationResult unwatched = session.Generate(prompt, options with { LogProbabilities = null });
        Assert.That(unwatched.Tokens, Is.EqualTo(result.Tokens));
        Assert.That(unwatched.LogProbabilities, Is.Null);
    }

    [Test]
    public void Odd_logits_have_log_probabilities_too()
    {
        float[] logits = [float.NaN, 1, float.NegativeInfinity, 3, 3];
        LogProbabilities ordinary = Observe(logits, top: 5, chosen: 4);
        Assert.That(ordinary.TopIds(0).ToArray(), Is.EqualTo((int[])[3, 4, 1, 2, -1]));
        double sum = Math.Log(2 + Math.Exp(-2));
        Assert.That(ordinary.Top(0).ToArray(), Is.EqualTo((double[])[-sum, -sum, -2 - sum, double.NegativeInfinity, double.NegativeInfinity]).Within(1e-6));
        Assert.That(ordinary.Chosen[0], Is.EqualTo(-sum).Within(1e-6));

        LogProbabilities certain = Observe([2, float.PositiveInfinity, float.PositiveInfinity], top: 3, chosen: 1);
        Assert.That(certain.TopIds(0).ToArray(), Is.EqualTo((int[])[1, 2, 0]));
        Assert.That(certain.Top(0).ToArray(), Is.EqualTo((double[])[-Math.Log(2), -Math.Log(2), double.NegativeInfinity]).Within(1e-6));

        static LogProbabilities Observe(float[] logits, int top, int chosen)
        {
            LogitsObserver observer = LogitsObserver.Create(logits.Length, 2, top, sink: null)!;
            observer.Look(logits);
            observer.Choose(chosen);
            return observer.Finish()!;
        }
    }

    [Test]
    public void Hidden_rows_are_what_entered_each_layer([Values("dense", "parvts:keep=k,migrate=K", "pyramiddrop:layers=0/K,keep=0.8/0.4")] string policy)
    {
        using var model = new TinyModel(12, layers: 4);
        Prompt prompt = model.Prompt(images: 2);
        string filled = PolicyCase.Fill(policy, model);
        Run expected = model.Run(prompt, filled, 2);
        using Session session = model.Engine.CreateSession(filled);
        GenerationResult result = session.Generate(prompt, new GenerationOptions { MaxTokens = 2, IgnoreEndOfSequence = true, HiddenLayers = [4, 1, 2, 1] });
        Assert.That(result.HiddenRows.Select(rows => rows.Layer), Is.EqualTo((int[])[1, 2, 4]));
        Assert.That(result.Tokens, Is.EqualTo(expected.Result.Tokens));
        foreach (HiddenRows rows in result.HiddenRows)
        {
            LayerRows known = expected.Hidden[rows.Layer];
            Assert.That(rows.Width, Is.EqualTo(model.Engine.Config.Text.HiddenSize));
            Assert.That(rows.Values.ToArray(), Is.EqualTo(known.Values.SelectMany(row => row)));
            Assert.That(rows.Tokens, Is.EqualTo(known.Rows.Select(row => row.Token)));
            Assert.That(rows.Paths, Is.EqualTo(known.Paths));
        }

        // A further turn hands out its own rows alone.
        GenerationResult turn = session.Generate(
            model.Continue(prompt, [.. result.Tokens.Take(1), 7, 9]), new GenerationOptions { MaxTokens = 1, HiddenLayers = [0] });
        Assert.That(turn.HiddenRows[0].Tokens, Is.EqualTo(Enumerable.Range(turn.CachedTokens, prompt.Length + 3 - turn.CachedTokens)));
        Assert.That(session.Generate(prompt, new GenerationOptions { MaxTokens = 1 }).HiddenRows, Is.Empty);
    }

    [Test]
    public void What_cannot_be_handed_out_is_refused()
    {
        using var model = new TinyModel(13, layers: 3);
        using Session session = model.Engine.CreateSession();
        Prompt prompt = model.Prompt();
        Assert.Multiple(() =>
        {
            Refuse(new GenerationOptions { HiddenLayers = [0, 4] }, "the model has layers 0 to 2, and 3 stands for");
            Refuse(new GenerationOptions { HiddenLayers = [-1] }, "the model has layers 0 to 2");
            Refuse(new GenerationOptions { LogProbabilities = -1 }, "0 (the chosen one's alone) to 100");
            Refuse(new GenerationOptions { LogProbabilities = 101 }, "0 (the chosen one's alone) to 100");
            Refuse(new GenerationOptions { LogProbabilities = 99 }, "the vocabulary has 97");
            Refuse(new GenerationOptions { Deadline = TimeSpan.MaxValue }, "at most 49 days");
        });

        void Refuse(GenerationOptions options, string message) =>
            Assert.That(() => session.Generate(prompt, options), Throws.TypeOf<RequestException>().With.Message.Contain(message));
    }

    [Test]
    public void A_warm_step_allocates_nothing_while_log_probabilities_are_gathered()
    {
        using var model = new TinyModel(14);
        using Session session = model.Engine.CreateSession();
        Prompt prompt = model.Prompt();
        long start = 0;
        long end = 0;
        int steps = 0;
        double sum = 0;
        session.Logits = (_, logits) => sum += logits[0];
        session.OnStep = _ =>
        {
            steps++;
            if (steps == 20)
                start = GC.GetAllocatedBytesForCurrentThread();
            if (steps == 49)
                end = GC.GetAllocatedBytesForCurrentThread();
        };
        var options = new GenerationOptions { MaxTokens = 50, IgnoreEndOfSequence = true, LogProbabilities = 4 };
        session.Generate(prompt, options);
        steps = 0;
        session.Generate(prompt, options);
        Assert.That(end - start, Is.Zero);
        Assert.That(double.IsFinite(sum));
    }

    [Test]
    public void The_plan_counts_what_is_handed_out()
    {
        using var model = new TinyModel(15, layers: 3);
        using Session session = model.Engine.CreateSession();
        Prompt prompt = model.Prompt();
        long plain = session.Plan(prompt, new GenerationOptions { MaxTokens = 4 }).Total;
        long more = session.Plan(prompt, new GenerationOptions { MaxTokens = 4, HiddenLayers = [0, 3] }).Total;
        Assert.That(more - plain, Is.EqualTo(2L * prompt.Length * model.Engine.Config.Text.HiddenSize * sizeof(float)));
    }

    private static double[] LogSoftmax(float[] logits)
    {
        double largest = logits.Max();
        double sum = Math.Log(logits.Sum(logit => Math.Exp(logit - largest)));
        return [.. logits.Select(logit => logit - largest - sum)];
    }
}
