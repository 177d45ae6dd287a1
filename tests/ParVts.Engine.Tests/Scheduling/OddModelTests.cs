using ParVts.Engine.Generation;
using ParVts.Engine.Scheduling;

namespace ParVts.Engine.Tests.Scheduling;

/// <summary>Models and pictures that are smaller than what the publications' numbers are for, or made otherwise.</summary>
public class OddModelTests
{
    private static readonly string[] s_names = [.. PolicyRegistry.All.Select(info => info.Name)];

    [Test]
    public void Published_numbers_fit_shallow_models_and_small_pictures(
        [ValueSource(nameof(s_names))] string policy, [Values(2, 3, 5)] int layers, [Values(1, 2, 5)] int grid)
    {
        using var model = new TinyModel(layers, layers: layers, grid: grid);
        Prompt prompt = model.Prompt(images: 2);
        using Session session = model.Engine.CreateSession(PolicyCase.Bare(policy, model));
        Run run = model.Run(session, prompt, 6);
        ScheduleTrace trace = run.Result.Trace;
        Assert.That(run.Logits.SelectMany(row => row), Has.None.NaN);
        for (int layer = 0; layer < layers; layer++)
            Assert.That(trace.KeptAt(layer), Has.Count.EqualTo(run.Hidden[layer].Rows.Count(row => row.Role == RowRole.Visual)), $"alive at {layer}");
        foreach (ScheduleEvent done in trace.Events)
            Assert.That(done.Margin is null || double.IsFinite(done.Margin.Value), $"{done.Score}: {done.Margin}");

        // The name, with all that was filled in, makes it again.
        using Session again = model.Engine.CreateSession(session.Policy);
        Assert.That(again.Policy, Is.EqualTo(session.Policy));
        Assert.That(model.Run(again, prompt, 6).Logits, Is.EqualTo(run.Logits));
    }

    [TestCase("visionzip")]
    [TestCase("visiondrop")]
    [TestCase("prumerge")]
    public void Without_a_class_token_some_are_refused(string policy)
    {
        using var model = new TinyModel(4, hasClassToken: false);
        Assert.That(
            () => model.Engine.CreateSession(policy),
            Throws.TypeOf<PolicyException>().With.Message.EqualTo($"policy '{policy}' needs the vision tower's class token, which this model's tower has not"));
    }

    [Test]
    public void Without_a_class_token_the_others_run([ValueSource(nameof(s_names))] string policy)
    {
        if (policy is "visionzip" or "visiondrop" or "prumerge")
            return;
        using var model = new TinyModel(4, hasClassToken: false, grid: 7);
        Run run = model.Run(model.Prompt(), PolicyCase.Bare(policy, model), 3);
        Assert.That(run.Logits.SelectMany(row => row), Has.None.NaN);
        if (policy == "folder")
            Assert.That(run.Result.Trace.KeptAt(0), Has.Count.LessThanOrEqualTo(49));
    }

    [Test]
    public void Pictures_in_a_row_are_scheduled_each_by_itself([Values("visiondrop:dominant=6/4,contextual=2/1,layers=1", "visionzip:dominant=5,contextual=2", "prumerge", "tome:merge=1")] string policy)
    {
        using var model = new TinyModel(6, layers: 3, grid: 4);
        Prompt both = model.Prompt(images: 2);
        int image = model.Engine.Config.ImageTokenId;
        Prompt together = model.Engine.CreatePrompt([1, 2, image, image, 5, 6, 7], both.Images);
        ScheduleTrace trace = model.Run(together, policy, 2).Result.Trace;
        int[] kept = [.. trace.KeptAt(0).Where(token => token >= 0)];
        Assert.That(kept.Count(token => token < model.Visual), Is.Positive);
        Assert.That(kept.Count(token => token >= model.Visual), Is.Positive);

        // What the tower makes of a picture does not depend on its neighbours.
        for (int i = 0; i < 2; i++)
        {
            Prompt alone = model.Engine.CreatePrompt([1, 2, image, 5, 6, 7], [both.Images[i]]);
            int[] own = [.. model.Run(alone, policy).Result.Trace.KeptAt(0).Where(token => token >= 0)];
            Assert.That(kept.Where(token => token / model.Visual == i).Select(token => token % model.Visual), Is.EqualTo(own), $"picture {i}");
        }
    }
}
