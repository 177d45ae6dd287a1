using ParVts.Engine.Generation;
using ParVts.Engine.Scheduling;

namespace ParVts.Engine.Tests.Scheduling;

/// <summary>ViCA against a plain decoder in which visual rows are never computed, and against policies that it equals.</summary>
public class ViCaTests
{
    private const int Steps = 4;

    [Test]
    public void Text_sees_the_projectors_output_in_the_named_layers([Range(1, 4)] int seed, [Values("attend", "skip")] string prefix)
    {
        using var model = new TinyModel(seed);
        using var plain = new PlainDecoder(model);
        int[] named = Named(model);
        Watched watched = Watched.Of(model, model.Prompt(images: 1 + seed % 2), $"vica:layers={string.Join('/', named)},prefix={prefix}", Steps);
        for (int step = 0; step < Steps; step++)
        {
            double[] logits = plain.Run(
                watched.Rows(plain, step),
                (_, row) => watched.Role(row) != RowRole.Visual,
                (layer, query, key) =>
                    (prefix == "attend" || watched.Role(query) != RowRole.Prefix) && (watched.Role(key) != RowRole.Visual || named.Contains(layer)));
            Near(logits, watched.Run.Logits[step], $"step {step}");
        }
    }

    [Test]
    public void Visual_rows_leave_the_last_layer_as_the_projector_made_them()
    {
        using var model = new TinyModel(5);
        Watched watched = Watched.Of(model, model.Prompt(), "vica:layers=1", 1);
        LayerRows left = watched.Run.Hidden[model.Layers];
        for (int row = 0; row < left.Rows.Length; row++)
        {
            bool same = left.Values[row].Select(value => (double)value).SequenceEqual(watched.Embedded[row]);
            Assert.That(same, Is.EqualTo(watched.Role(row) == RowRole.Visual), $"row {row}");
        }
    }

    [Test]
    public void With_all_layers_it_is_shortv_of_all_layers([Range(1, 3)] int seed)
    {
        using var model = new TinyModel(seed);
        string all = string.Join('/', Enumerable.Range(0, model.Layers));
        Prompt prompt = model.Prompt();
        Assert.That(model.Run(prompt, $"vica:layers={all}", Steps).Logits, Is.EqualTo(model.Run(prompt, $"shortv:layers={all}", Steps).Logits));
    }

    [Test]
    public void With_the_first_layer_alone_its_visual_tokens_are_gone_after_it([Range(1, 3)] int seed)
    {
        using var model = new TinyModel(seed);
        Prompt prompt = model.Prompt();
        Run left = model.Run(prompt, "shortv:layers=0+vtw:layer=1", Steps);
        Assert.That(model.Run(prompt, "vica:layers=0", Steps).Logits, Is.EqualTo(left.Logits));
    }

    [Test]
    public void With_no_layer_visual_tokens_are_gone_before_the_first([Range(1, 3)] int seed)
    {
        using var model = new TinyModel(seed);
        Prompt prompt = model.Prompt();
        Assert.That(model.Run(prompt, "vica:layers=", Steps).Logits, Is.EqualTo(model.Run(prompt, "vtw:layer=0", Steps).Logits));
    }

    [Test]
    public void Cache_rows_keys_and_FLOPs_are_what_the_trace_says([Range(1, 4)] int seed, [Values("attend", "skip")] string prefix)
    {
        using var model = new TinyModel(seed);
        int[] named = Named(model);
        Prompt prompt = model.Prompt(images: 1 + seed % 2);
        using Session session = model.Engine.CreateSession($"vica:layers={string.Join('/', named)},prefix={prefix}");
        Run run = model.Run(session, prompt, Steps);
        ScheduleTrace trace = run.Result.Trace;
        RowRole[] roles = [.. run.Hidden[0].Rows.Select(row => row.Role)];
        int others = trace.Prefix + trace.Text;
        for (int layer = 0; layer < model.Layers; layer++)
        {
            int keys = named.Contains(layer) ? prompt.Length : others;
            Assert.That(trace.RowsByLayer[layer], Is.EqualTo(others), $"rows at {layer}");
            Assert.That(trace.KeysByLayer[layer], Is.EqualTo(keys), $"keys at {layer}");
            Assert.That(trace.KvRowsByLayer[layer], Is.EqualTo(keys), $"cache at {layer}");
            Assert.That(session.Kv.Length(layer), Is.EqualTo(keys + Steps - 1), $"cache at {layer} after decoding");
            Assert.That(trace.FlopsByLayer[layer], Is.EqualTo(Flops(model, roles, others, keys, prefix == "skip")), $"FLOPs at {layer}");
        }

        Assert.That(trace.FlopsCountedByLayer, Is.EqualTo(trace.FlopsByLayer), "what operations counted");
        Assert.That(trace.Events, Is.Empty, "nothing is chosen");
    }

    [Test]
    public void Decoding_equals_replaying_the_whole_text([Range(1, 3)] int seed, [Values("attend", "skip")] string prefix)
    {
        using var model = new TinyModel(seed);
        Prompt prompt = model.Prompt();
        string policy = $"vica:layers={string.Join('/', Named(model))},prefix={prefix}";
        Run run = model.Run(prompt, policy, Steps);
        int[] tokens = [.. run.Result.Tokens.TakeWhile(token => token != model.Engine.Config.ImageTokenId)];
        Assert.That(tokens, Is.Not.Empty);
        for (int step = 1; step < Math.Min(Steps, tokens.Length + 1); step++)
            Near(model.Run(model.Continue(prompt, tokens.Take(step)), policy).Logits[0], run.Logits[step], $"step {step}");
    }

    [Test]
    public void A_second_turn_and_a_second_picture_equal_one_pass([Values("attend", "skip")] string prefix)
    {
        using var model = new TinyModel(7);
        string policy = $"vica:layers={string.Join('/', Named(model))},prefix={prefix}";
        Prompt both = model.Prompt(images: 2);
        Prompt first = model.Engine.CreatePrompt(both.Ids[..both.ImageStarts[1]], [both.Images[0]]);
        using Session session = model.Engine.CreateSession(policy);
        model.Run(session, first);
        Run second = model.Run(session, both, 2);
        Assert.That(second.Result.CachedTokens, Is.EqualTo(both.ImageStarts[1]));
        Run whole = model.Run(both, policy, 2);
        Near(whole.Logits[0], second.Logits[0], "the second picture");
        Near(whole.Logits[1], second.Logits[1], "a step after it");

        // A turn of text alone looks at what each layer holds.
        int[] stored = [.. second.Result.Trace.KvRowsByLayer];
        Prompt third = model.Continue(both, [second.Result.Tokens[0], 5, 6, 7]);
        Run text = model.Run(session, third, 2);
        Assert.That(text.Result.CachedTokens, Is.EqualTo(both.Length + 1));
        Assert.That(text.Result.Trace.KvRowsByLayer, Is.EqualTo(stored.Select(rows => rows + 4).ToArray()));
        Near(model.Run(third, policy, 2).Logits[1], text.Logits[1], "text behind it");
    }

    [Test]
    public void Another_question_about_a_picture_looks_at_it_again([Values("attend", "skip")] string prefix)
    {
        using var model = new TinyModel(8);
        string policy = $"vica:layers={string.Join('/', Named(model))},prefix={prefix}";
        Prompt first = model.Prompt();
        Prompt other = model.Engine.CreatePrompt([.. first.Ids[..(first.ImageStarts[0] + model.Visual)], 3, 9, 4], first.Images);
        using Session session = model.Engine.CreateSession(policy);
        model.Run(session, first, 2);
        Run reused = model.Run(session, other, 2);
        Assert.That(reused.Result.CachedTokens, Is.EqualTo(first.ImageStarts[0]), "layers hold different rows of the picture");
        Near(model.Run(other, policy, 2).Logits[1], reused.Logits[1], "another question");
    }

    [TestCase(32, "vica:layers=0/1/7/8/9/10/11/14")]
    [TestCase(16, "vica:layers=0/4/5/6/7")]
    [TestCase(2, "vica:layers=0/1")]
    public void Published_layers_scale_to_the_model(int layers, string name)
    {
        VisualTokenPolicy policy = PolicyRegistry.Create("vica");
        policy.Bind(new PolicyModel(layers, 48));
        Assert.That(policy.Name, Is.EqualTo(name));
    }

    [TestCase("vica:layers=0/32", "names layer 32, beyond the model's last; layers are 0 to 31 here")]
    [TestCase("vica:layers=0/0", "layers=0/0 is not allowed")]
    [TestCase("vica:prefix=half", "prefix is attend or skip")]
    public void Wrong_parameters_are_refused(string policy, string message) => Assert.That(
        () => PolicyRegistry.Create(policy).Bind(new PolicyModel(32, 48)), Throws.TypeOf<PolicyException>().With.Message.Contain(message));

    // The first layer, and the last but one or the last: layers before, between and behind hold nothing.
    private static int[] Named(TinyModel model) => model.Layers == 2 ? [1] : [0, model.Layers - (model.Layers % 2 == 0 ? 1 : 2)];

    // The formula of SCHEDULES.md; visible pairs counted one by one.
    private static long Flops(TinyModel model, RowRole[] roles, int rows, int keys, bool skipsPrefix)
    {
        long pairs = 0;
        for (int query = 0; query < roles.Length; query++)
        {
            if (roles[query] != RowRole.Visual && !(skipsPrefix && roles[query] == RowRole.Prefix))
                pairs += roles.Take(query + 1).Count(role => role != RowRole.Visual || keys > rows);
        }

        ParVts.Engine.Formats.TextConfig text = model.Engine.Config.Text;
        long width = (long)text.Heads * text.HeadDim;
        return 2 * (rows * text.HiddenSize * width * 2 + (long)keys * text.HiddenSize * 2 * text.KeyValueHeads * text.HeadDim
            + (long)rows * text.IntermediateSize * text.HiddenSize * 3 + 2 * pairs * width);
    }

    internal static void Near(IReadOnlyList<double> expected, float[] actual, string what) =>
        Near([.. expected.Select(value => (float)value)], actual, what);

    private static void Near(float[] expected, float[] actual, string what) =>
        Assert.That(GoldenFile.Distance(expected, actual), Is.LessThan(TinyModel.Tolerance * expected.Max(Math.Abs)), what);
}
