using ParVts.Engine.Generation;
using ParVts.Engine.Imaging;
using ParVts.Engine.Scheduling;
using ParVts.Engine.Tests.Scheduling;
using ParVts.Engine.Text;

namespace ParVts.Engine.Tests.Generation;

/// <summary>Pictures that are given as ready-made embeddings.</summary>
internal sealed class EmbeddingTests
{
    // Every policy that looks into the vision tower, or merges there.
    private static readonly string[] s_inTower = ["parvts", "cls-prune:keep=k", "visionzip", "visiondrop", "folder:keep=N", "tome:merge=1", "prumerge"];

    [Test]
    public void The_projectors_rows_give_the_ordinary_run_to_the_bit(
        [Values("dense", "fastv:layer=K,keep=k", "divprune:keep=k", "shortv:layers=0/K", "st3:start=1,stride=1,keep=0.7,floor=2,every=2", "yopo:window=3,cut=K")] string policy,
        [Values(1, 2)] int images)
    {
        using var model = new TinyModel(3);
        Prompt pixels = model.Prompt(images);
        Prompt rows = model.Embedded(pixels);
        string filled = PolicyCase.Fill(policy, model);
        Run expected = model.Run(pixels, filled, 4);
        Run actual = model.Run(rows, filled, 4);
        Assert.Multiple(() =>
        {
            Assert.That(actual.Logits, Is.EqualTo(expected.Logits));
            Assert.That(actual.Result.Trace.KvRowsByLayer, Is.EqualTo(expected.Result.Trace.KvRowsByLayer));
            Assert.That(actual.Result.VisualTokens, Is.EqualTo(images * model.Visual));
            Assert.That(actual.Result.Memory.Workspace, Is.LessThan(expected.Result.Memory.Workspace), "no tower, no memory for it");
        });

        // Other rows, other answers: what is given is what is used.
        float[] other = [.. rows.Images[0].Embeddings.ToArray().Select(value => -value)];
        Prompt changed = model.WithImages(rows, [model.Engine.PrepareEmbeddings(other), .. rows.Images.Skip(1)]);
        Assert.That(model.Run(changed, filled, 1).Logits[0], Is.Not.EqualTo(expected.Logits[0]));
    }

    [Test]
    public void Pixels_and_embeddings_go_into_one_prompt([Values] bool embeddedFirst)
    {
        using var model = new TinyModel(5);
        Prompt pixels = model.Prompt(images: 2);
        PromptImage[] rows = [.. model.Embedded(pixels).Images];
        PromptImage[] mixed = embeddedFirst ? [rows[0], pixels.Images[1]] : [pixels.Images[0], rows[1]];
        Assert.That(model.Run(model.WithImages(pixels, mixed), "grid:keep=5", 3).Logits, Is.EqualTo(model.Run(pixels, "grid:keep=5", 3).Logits));
    }

    [Test]
    public void There_may_be_any_number_of_rows([Values(1, 3, 200)] int count, [Values("dense", "grid:keep=2", "fastv:layer=1,keep=0.5", "vtw:layer=1")] string policy)
    {
        using var model = new TinyModel(6);
        Prompt pixels = model.Prompt(images: 2);
        float[] values = Random(count * model.Engine.Config.Text.HiddenSize, seed: count);
        PromptImage first = model.Engine.PrepareEmbeddings(values);
        Prompt prompt = model.WithImages(pixels, [first, pixels.Images[1]]);
        Assert.That(prompt.ImageTokens.ToArray(), Is.EqualTo((int[])[count, model.Visual]));
        Assert.That(prompt.Length, Is.EqualTo(pixels.Length - model.Visual + count));
        Run run = model.Run(prompt, policy, 3);
        ScheduleTrace trace = run.Result.Trace;
        Assert.That(trace.Visual, Is.EqualTo(count + model.Visual));
        Assert.That(trace.KeptAt(0), Is.All.LessThan(trace.Visual));
        if (policy == "dense")
        {
            float[] entered = [.. run.Hidden[0].Values.Where((_, row) => run.Hidden[0].Rows[row].Image == 0).SelectMany(row => row)];
            Assert.That(entered, Is.EqualTo(values));
        }

        // Ids in which every image token stands already are the same prompt.
        Prompt expanded = model.Engine.CreatePrompt(prompt.Ids, prompt.Images);
        Assert.That(expanded.ImageStarts.ToArray(), Is.EqualTo(prompt.ImageStarts.ToArray()));
    }

    [Test]
    public void The_cache_knows_embeddings_by_their_values()
    {
        using var model = new TinyModel(7);
        Prompt rows = model.Embedded(model.Prompt());
        using Session session = model.Engine.CreateSession();
        Run one = model.Run(session, rows, 1);
        Prompt same = model.WithImages(rows, [model.Engine.PrepareEmbeddings(rows.Images[0].Embeddings.Span)]);
        Assert.That(model.Run(session, same, 1).Result.CachedTokens, Is.EqualTo(rows.Length - 1));
        float[] values = rows.Images[0].Embeddings.ToArray();
        values[0] = MathF.BitIncrement(values[0]);
        Run other = model.Run(session, model.WithImages(rows, [model.Engine.PrepareEmbeddings(values)]), 1);
        Assert.That(other.Result.CachedTokens, Is.EqualTo(rows.ImageStarts[0]));
        Assert.That(one.Result.Finish, Is.EqualTo(FinishReason.Length));
    }

    [Test]
    public void Policies_that_look_into_the_tower_refuse_them_and_say_why([ValueSource(nameof(s_inTower))] string policy)
    {
        using var model = new TinyModel(8, grid: 7);
        Prompt pixels = model.Prompt(images: 2);
        Prompt rows = model.WithImages(pixels, [pixels.Images[0], model.Embedded(pixels).Images[1]]);
        using Session session = model.Engine.CreateSession(PolicyCase.Fill(policy, model));
        Assert.Multiple(() =>
        {
            Assert.That(() => session.Generate(rows), Refused("in the vision tower, and picture 2 is given as embeddings"));
            Assert.That(() => session.Plan(rows), Refused("in the vision tower"));
            Assert.That(() => session.PlanTrace(rows), Refused("in the vision tower"));
        });
        Assert.That(session.Generate(pixels, new GenerationOptions { MaxTokens = 1 }).Tokens, Has.Count.EqualTo(1), "the session goes on");

        static NUnit.Framework.Constraints.Constraint Refused(string message) => Throws.TypeOf<PolicyException>().With.Message.Contain(message);
    }

    [Test]
    public void A_policy_that_needs_the_grid_refuses_another_number_of_rows()
    {
        using var model = new TinyModel(9);
        Prompt pixels = model.Prompt();
        Prompt rows = model.WithImages(pixels, [model.Engine.PrepareEmbeddings(new float[2 * model.Engine.Config.Text.HiddenSize])]);
        using Session session = model.Engine.CreateSession("yopo:window=3,cut=1");
        Assert.That(() => session.Generate(rows), Throws.TypeOf<PolicyException>().With.Message.Match("in a grid of [0-9]+, and picture 1 is given as 2 rows"));
    }

    [Test]
    public void What_is_no_rows_is_refused()
    {
        using var model = new TinyModel(10);
        int width = model.Engine.Config.Text.HiddenSize;
        Prompt pixels = model.Prompt();
        float[] broken = new float[3 * width];
        broken[width + 2] = float.NaN;
        PromptImage other = DemoModel.Engine.PrepareEmbeddings(new float[DemoModel.Engine.Config.Text.HiddenSize]);
        Assert.Multiple(() =>
        {
            Assert.That(() => model.Engine.PrepareEmbeddings([]), Refused("0 values are no rows"));
            Assert.That(() => model.Engine.PrepareEmbeddings(new float[width + 1]), Refused($"this model's rows have {width} values each"));
            Assert.That(() => model.Engine.PrepareEmbeddings(broken), Refused("row 1 of the embeddings has the value NaN at 2"));
            Assert.That(() => model.Engine.PrepareEmbeddings(new float[(long)width * model.Engine.Config.Text.MaxPositions]), Refused("context"));
            Assert.That(() => model.Engine.ShowImage(model.Engine.PrepareEmbeddings(new float[width])), Refused("no pixels"));
            Assert.That(() => model.WithImages(pixels, [DemoModel.Engine.PrepareImage(ImageDecoder.Load(DemoModel.Picture(0)))]), Refused("another model"));
            if (other.Embeddings.Length % width != 0)
                Assert.That(() => model.WithImages(pixels, [other]), Refused("another model"));
        });

        static NUnit.Framework.Constraints.Constraint Refused(string message) => Throws.TypeOf<RequestException>().With.Message.Contain(message);
    }

    [Test]
    public void A_conversation_may_hold_them()
    {
        VlmEngine engine = DemoModel.Engine;
        PromptImage image = engine.PrepareImage(ImageDecoder.Load(DemoModel.Picture(0)));
        ChatMessage message = new("user", [ChatPart.Image, ChatPart.OfText("how many objects are there?")]);
        using Session session = engine.CreateSession();
        float[] rows = [];
        session.Sink = (stage, tensor) =>
        {
            if (stage == "projected")
                session.Device.Download(tensor, (rows = new float[tensor.Rows * tensor.Columns]).AsSpan());
        };
        string expected = session.Generate(engine.CreatePrompt([message], [image])).Text;
        session.Sink = null;
        session.Reset();
        Assert.That(session.Generate(engine.CreatePrompt([message], [engine.PrepareEmbeddings(rows)])).Text, Is.EqualTo(expected));
    }

    private static float[] Random(int count, int seed)
    {
        var random = new Random(seed);
        return [.. Enumerable.Range(0, count).Select(_ => (float)(random.NextDouble() - 0.5))];
    }
}
