using ParVts.Engine.Generation;
using ParVts.Engine.Scheduling;
using ParVts.Engine.Scheduling.Policies;
using ParVts.Engine.Tests.Scheduling;

namespace ParVts.Engine.Tests.Generation;

/// <summary>Which visual tokens stay, as the host says: by a list, or by a policy of its own.</summary>
internal sealed class HostPolicyTests
{
    [Test]
    public void A_list_keeps_what_it_names_and_nothing_else([Values(-1, 0, 2)] int layer, [Values(0, 1, 5)] int count)
    {
        using var model = new TinyModel(21, layers: 4);
        Prompt prompt = model.Prompt(images: 2);
        int[] tokens = [.. Enumerable.Range(0, 2 * model.Visual).Reverse().Where(token => token % 3 == 1).Take(count)];
        using Session session = model.Engine.CreateSession(new KeepListPolicy(tokens, layer));
        Run run = model.Run(session, prompt, 3);
        ScheduleTrace trace = run.Result.Trace;
        Assert.That(trace.KeptAt(model.Layers), Is.EqualTo(tokens.Order()));
        for (int at = 0; at < model.Layers; at++)
            Assert.That(trace.KvRowsByLayer[at], Is.EqualTo(trace.Prefix + trace.Text + (at < layer ? trace.Visual : count)), $"layer {at}");

        // The same by its string, and as any policy that chooses the same.
        using Session again = model.Engine.CreateSession(session.Policy);
        Assert.That(again.Policy, Is.EqualTo(session.Policy));
        Assert.That(model.Run(again, prompt, 3).Logits, Is.EqualTo(run.Logits));
        ScheduleEvent[] events = [.. trace.Events];
        Assert.That(model.Run(prompt, new FrozenPolicy(events, trace.Text), 3).Logits, Is.EqualTo(run.Logits));
    }

    [Test]
    public void A_list_of_a_file_is_read()
    {
        using var model = new TinyModel(22);
        string file = Path.Combine(model.Folder, "keep.json");
        File.WriteAllText(file, "[5, 0, 6, 7]");
        using Session session = model.Engine.CreateSession($"keep:layer=1,tokens=@{file}");
        Assert.That(session.Policy, Is.EqualTo("keep:layer=1,tokens=0/5-7"));
        foreach ((string text, string message) in new[] { ("{}", "a JSON list of whole numbers"), ("[1.5]", "a JSON list"), ("[", "a JSON list"), ("[\"a\"]", "a JSON list"), ("[99999999999]", "a JSON list") })
        {
            File.WriteAllText(file, text);
            Assert.That(() => PolicyRegistry.Create($"keep:tokens=@{file}"), Throws.TypeOf<ModelFormatException>().With.Message.Contain(message), text);
        }

        File.WriteAllText(file, "[1, 2, 1]");
        Assert.That(() => PolicyRegistry.Create($"keep:tokens=@{file}"), Throws.TypeOf<PolicyException>().With.Message.Contain("token 1 is given twice"));
        Assert.That(() => PolicyRegistry.Create($"keep:tokens=@{file}.no"), Throws.TypeOf<ModelFormatException>().With.Message.Contain("cannot be read"));
    }

    [Test]
    public void A_token_that_is_not_there_is_named()
    {
        using var model = new TinyModel(23, layers: 3);
        Prompt prompt = model.Prompt();
        using Session session = model.Engine.CreateSession(new KeepListPolicy([0, model.Visual + 4, model.Visual]));
        string message = $"policy 'keep': token {model.Visual} is not there; the pictures make the visual tokens 0 to {model.Visual - 1}";
        Assert.Multiple(() =>
        {
            Assert.That(() => session.Generate(prompt), Throws.TypeOf<PolicyException>().With.Message.EqualTo(message));
            Assert.That(() => new KeepListPolicy([4, 2, 4]), Throws.TypeOf<PolicyException>().With.Message.Contain("token 4 is given twice"));
            Assert.That(() => new KeepListPolicy([4, -2]), Throws.TypeOf<PolicyException>().With.Message.Contain("token -2 is not there"));
            Assert.That(() => new KeepListPolicy([4], -2), Throws.TypeOf<PolicyException>().With.Message.Contain("layer -2"));
            Assert.That(() => model.Engine.CreateSession(new KeepListPolicy([4], 3)), Throws.TypeOf<PolicyException>().With.Message.Contain("layer is 0 to 2 here"));
            Assert.That(() => model.Engine.CreateSession("keep"), Throws.TypeOf<PolicyException>().With.Message.Contain("needs the tokens that stay"));
            Assert.That(() => model.Engine.CreateSession("grid:keep=4+keep:layer=2,tokens=1"), Throws.TypeOf<PolicyException>().With.Message.Contain("both choose"));
        });

        // The session goes on: with two pictures the numbers are there.
        Assert.That(session.Generate(model.Prompt(images: 2), new GenerationOptions { MaxTokens = 1 }).Tokens, Has.Count.EqualTo(1));
    }

    [Test]
    public void A_policy_of_the_hosts_own_acts_as_one_of_ours()
    {
        using var model = new TinyModel(24, layers: 4);
        Prompt prompt = model.Prompt();
        Run expected = model.Run(prompt, "fastv:layer=2,keep=5", 4);
        Run actual = model.Run(prompt, new LastRowPolicy(2, 5), 4);
        Assert.That(actual.Logits, Is.EqualTo(expected.Logits));
        Assert.That(actual.Result.Trace.KeptAt(4), Is.EqualTo(expected.Result.Trace.KeptAt(4)).And.Count.EqualTo(5));

        using Session session = model.Engine.CreateSession();
        session.SetPolicy(new LastRowPolicy(2, 5));
        Assert.That(session.Policy, Is.EqualTo("last-row"));
        Assert.That(model.Run(session, prompt, 4).Logits, Is.EqualTo(expected.Logits));
        Assert.That(() => session.SetPolicy(new LastRowPolicy(9, 5)), Throws.TypeOf<PolicyException>().With.Message.Contain("no layer 9"));
        Assert.That(model.Run(session, prompt, 4).Result.CachedTokens, Is.Positive, "a policy that is refused changes nothing");
    }

    [Test]
    public void What_a_hosts_policy_throws_ends_the_call_alone()
    {
        using var model = new TinyModel(25, layers: 3);
        Prompt prompt = model.Prompt();
        var policy = new FailingPolicy();
        using Session session = model.Engine.CreateSession(policy);
        Assert.That(() => session.Generate(prompt), Throws.InvalidOperationException.With.Message.EqualTo("the host's own"));
        policy.Fails = false;
        Assert.That(session.CachedTokens, Is.Zero);
        Assert.That(model.Run(session, prompt, 3).Logits, Is.EqualTo(model.Run(prompt, "dense", 3).Logits));
    }

    /// <summary>A host's policy, of public members alone: FastV's rule (arXiv 2403.06764).</summary>
    public sealed class LastRowPolicy(int layer, int keep) : VisualTokenPolicy
    {
        public override string Name => "last-row";

        public override IReadOnlyList<PolicySpan> Spans => [new(layer, layer, PolicyEffect.Select)];

        public override void Bind(PolicyModel model)
        {
            if (layer >= model.Layers)
                throw new PolicyException($"there is no layer {layer}");
        }

        public override void BeforeLayer(ScheduleState state)
        {
            int visual = state.AliveVisual().Length;
            if (visual == 0)
                return;
            if (state.Layer == layer - 1)
                state.Probe([state.Rows.Count - 1]);
            if (state.Layer == layer)
                state.KeepHighest(TokenScore.RowAttention, [new RankGroup(0, visual, keep)], "last row's attention");
        }
    }

    private sealed class FailingPolicy : VisualTokenPolicy
    {
        public bool Fails { get; set; } = true;

        public override string Name => "failing";

        public override IReadOnlyList<PolicySpan> Spans => [];

        // Asked when the run is planned, too; what is wanted here is a failure in its middle.
        public override void BeforeLayer(ScheduleState state)
        {
            if (Fails && state.Layer == 1 && state.ReadBack is not null)
                throw new InvalidOperationException("the host's own");
        }
    }
}
