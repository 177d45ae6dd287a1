using ParVts.Engine.Generation;
using ParVts.Engine.Scheduling;

namespace ParVts.Engine.Tests.Scheduling;

/// <summary>The policy <c>knockout</c>: who may not look at whom, and that nothing else changes.</summary>
public class KnockoutTests
{
    private static readonly string[] s_directions = ["text-visual", "visual-visual", "both"];

    [Test]
    public void Text_that_never_looks_again_answers_as_if_the_picture_had_left([Range(1, 4)] int seed, [Values(0, 1)] int from)
    {
        using var model = new TinyModel(seed);
        Prompt prompt = model.Prompt(images: 1 + seed % 2);
        Run knocked = model.Run(prompt, $"knockout:from={from},to={model.Layers - 1}", 4);
        Run left = model.Run(prompt, $"vtw:layer={from}", 4);
        for (int step = 0; step < 4; step++)
            Near(left.Logits[step], knocked.Logits[step], $"step {step}");
        Assert.That(knocked.Result.Trace.KvRowsByLayer, Is.All.EqualTo(prompt.Length), "its keys stay");
    }

    [Test]
    public void Every_row_sees_what_it_may_and_nothing_else_changes(
        [ValueSource(nameof(s_directions))] string direction, [Values("before", "after")] string mask, [Range(1, 2)] int seed)
    {
        using var model = new TinyModel(seed);
        Prompt prompt = model.Prompt(images: seed);
        Run run = model.Run(prompt, $"knockout:from=1,to=1,direction={direction},mask={mask}");
        for (int layer = 0; layer < 2; layer++)
        {
            LayerRows rows = run.Hidden[layer];
            var truth = new LayerTruth(model, layer, rows);
            foreach (int row in Enumerable.Range(0, rows.Rows.Length))
            {
                bool Allowed(int key) => layer == 0 || rows.Rows[key].Role != RowRole.Visual || !Forbids(direction, rows.Rows[row].Role);
                double[] expected = mask == "before"
                    ? truth.Leaves(row, key => Allowed(key) || key == row, _ => true)
                    : truth.Leaves(row, _ => true, Allowed);
                Near(Array.ConvertAll(expected, value => (float)value), run.Hidden[layer + 1].Values[row], $"layer {layer}, row {row}");
            }
        }

        ScheduleTrace trace = run.Result.Trace;
        Assert.That(trace.FlopsCountedByLayer, Is.EqualTo(trace.FlopsByLayer));
        Assert.That(trace.PairsByLayer[1], mask == "before" ? Is.LessThan(trace.PairsByLayer[0]) : Is.EqualTo(trace.PairsByLayer[0]));
    }

    [Test]
    public void New_tokens_are_forbidden_what_the_question_is(
        [ValueSource(nameof(s_directions))] string direction, [Values("before", "after")] string mask, [Range(1, 2)] int seed)
    {
        using var model = new TinyModel(seed);
        Prompt prompt = model.Prompt();
        string policy = $"knockout:from=0,to=1,direction={direction},mask={mask}";
        Run run = model.Run(prompt, policy, 4);
        int[] tokens = [.. run.Result.Tokens.TakeWhile(token => token != model.Engine.Config.ImageTokenId).Take(3)];
        Assert.That(tokens, Is.Not.Empty);
        for (int step = 1; step <= tokens.Length; step++)
            Near(model.Run(model.Continue(prompt, tokens.Take(step)), policy).Logits[0], run.Logits[step], $"step {step}");
    }

    [Test]
    public void Visual_tokens_that_do_not_see_each_other_do_not_depend_on_each_other()
    {
        using var model = new TinyModel(3);
        Prompt prompt = model.Prompt();
        string policy = $"knockout:from=0,to={model.Layers - 1},direction=visual-visual";
        Run plain = model.Run(prompt, policy);
        Run changed = model.Run(prompt, policy, onStage: (stage, rows, hidden) =>
        {
            if (stage == "inputs_embeds")
                model.Overwrite(rows, hidden, visual: 2, value => -value);
        });
        Row[] rows = plain.Hidden[0].Rows;
        for (int row = 0; row < rows.Length; row++)
        {
            if (rows[row].Role == RowRole.Visual)
                Assert.That(changed.Hidden[model.Layers].Values[row].SequenceEqual(plain.Hidden[model.Layers].Values[row]), Is.EqualTo(rows[row].Visual != 2), $"row {row}");
        }

        Assert.That(changed.Logits[0], Is.Not.EqualTo(plain.Logits[0]), "text sees them all");
    }

    [TestCase("knockout:from=3,to=2", "behind to=2")]
    [TestCase("knockout:from=0,to=99", "to is 0 to")]
    [TestCase("knockout:from=99,to=99", "from is 0 to")]
    [TestCase("knockout:direction=visual-text", "text-visual, visual-visual or both")]
    [TestCase("knockout:mask=never", "before or after")]
    [TestCase("knockout:from=-1", "a layer, from 0")]
    public void What_the_model_does_not_have_is_refused(string policy, string message)
    {
        using var model = new TinyModel(1);
        Assert.That(() => model.Engine.CreateSession(policy), Throws.TypeOf<PolicyException>().With.Message.Contains(message));
    }

    // Who sees whom is said of the rows that are left.
    [Test]
    public void It_forbids_what_is_left_when_others_have_moved_rows()
    {
        using var model = new TinyModel(2);
        Prompt prompt = model.Prompt();
        Run run = model.Run(prompt, $"fastv:layer=1,keep=4+knockout:from=1,to={model.Layers - 1}", 2);
        Assert.That(run.Result.Trace.RowsByLayer[1], Is.EqualTo(run.Result.Trace.Prefix + 4 + run.Result.Trace.Text));
        Near(model.Run(prompt, "vtw:layer=1", 2).Logits[1], run.Logits[1], "nobody looks at those that are left");
        Run other = model.Run(prompt, $"knockout:from=1,to={model.Layers - 1}+fastv:layer=1,keep=4", 2);
        Assert.That(other.Logits[1], Is.EqualTo(run.Logits[1]), "who sees whom is settled last");
    }

    private static bool Forbids(string direction, RowRole role) => role switch
    {
        RowRole.Visual => direction != "text-visual",
        RowRole.Text => direction != "visual-visual",
        _ => false,
    };

    private static void Near(float[] expected, float[] actual, string what) =>
        Assert.That(GoldenFile.Distance(expected, actual), Is.LessThan(TinyModel.Tolerance * expected.Max(Math.Abs)), what);
}
