using System.Text.Json;
using ParVts.Engine.Imaging;
using ParVts.Runner.Explaining;

namespace ParVts.Runner.Tests;

/// <summary><c>parvts explain</c> without a browser: what it writes.</summary>
public sealed class ExplainCommandTests
{
    private const string Policy = "parvts:keep=36,migrate=3,fuse=lse";

    [Test]
    public void PageHoldsTheTraceOfTheRun()
    {
        DemoQuestion question = DemoModel.Question("count");
        JsonElement json = Explain(question, Policy, "trace", out JsonElement page).Json;
        JsonElement plain = Parvts.Run(
            "run", "--model", DemoModel.Model, "--image", question.Image, "--prompt", question.Text, "--policy", "dense", "--json").Json;
        JsonElement trace = json.GetProperty("trace");
        JsonElement[] layers = [.. page.GetProperty("layers").EnumerateArray()];
        JsonElement[] events = [.. page.GetProperty("events").EnumerateArray()];
        using (Assert.EnterMultipleScope())
        {
            Assert.That(page.GetProperty("question").GetString(), Is.EqualTo(question.Text));
            Assert.That(page.GetProperty("answer").GetString(), Is.EqualTo(json.GetProperty("text").GetString()));
            Assert.That(page.GetProperty("dense_answer").GetString(), Is.EqualTo(plain.GetProperty("text").GetString()));
            Assert.That(layers.Select(layer => layer.GetProperty("rows").GetInt32()), Is.EqualTo(trace.GetProperty("rows_by_layer").Numbers()));
            Assert.That(layers.Select(layer => layer.GetProperty("kv_rows").GetInt32()), Is.EqualTo(trace.GetProperty("kv_rows_by_layer").Numbers()));
            Assert.That(layers.Sum(layer => layer.GetProperty("flops").GetInt64()), Is.EqualTo(trace.GetProperty("flops").GetInt64()));
            Assert.That(layers.Sum(layer => layer.GetProperty("dense").GetProperty("flops").GetInt64()), Is.EqualTo(trace.GetProperty("flops_dense").GetInt64()));
            Assert.That(events.Select(done => done.GetProperty("kind").GetString()), Is.EqualTo(["split", "fuse"]));
            Assert.That(events[0].GetProperty("subject").Numbers().Order(), Is.EqualTo(events[1].GetProperty("kept").Numbers().Order()));
            Assert.That(page.GetProperty("kl").GetDouble(), Is.EqualTo(json.GetProperty("kl").GetDouble()).And.Positive);
            Assert.That(page.GetProperty("images")[0].GetProperty("name").GetString(), Is.EqualTo(Path.GetFileName(question.Image)));
        }
    }

    [Test]
    public void DenseDiffersFromItselfInNothing()
    {
        JsonElement json = Explain(DemoModel.Question("presence"), "dense", "dense", out JsonElement page).Json;
        using (Assert.EnterMultipleScope())
        {
            Assert.That(json.GetProperty("kl").GetDouble(), Is.Zero);
            Assert.That(page.GetProperty("top").ToString(), Is.EqualTo(page.GetProperty("dense_top").ToString()));
            Assert.That(json.GetProperty("text").GetString(), Is.EqualTo(json.GetProperty("dense_text").GetString()));
        }
    }

    [Test]
    public void PicturesAreAsTheModelSeesThem()
    {
        DemoQuestion question = DemoModel.Question("count");
        string folder = Path.Combine(DemoModel.Scratch, "explained");
        JsonElement json = Explain(question, Policy, "pictures", out JsonElement page, "--png", folder).Json;
        byte[] shown = Convert.FromBase64String(page.GetProperty("images")[0].GetProperty("png").GetString()!.Split(',')[1]);
        RgbImage picture = ImageDecoder.Decode(shown);
        RgbImage overlay = ImageDecoder.Load(Path.Combine(folder, "image0-layer03.png"));
        using (Assert.EnterMultipleScope())
        {
            Assert.That(picture.Pixels, Is.EqualTo(ImageDecoder.Load(question.Image).Pixels), "the demo's pictures have the model's size");
            Assert.That(json.GetProperty("png").EnumerateArray().Select(name => name.GetString()), Is.EqualTo(["image0-layer00.png", "image0-layer03.png"]));
            Assert.That((overlay.Width, overlay.Height), Is.EqualTo((picture.Width, picture.Height)));
        }
    }

    /// <summary>Runs it, and reads the data out of its page.</summary>
    private static Outcome Explain(DemoQuestion question, string policy, string name, out JsonElement page, params string[] more)
    {
        string path = Path.Combine(DemoModel.Scratch, name + ".html");
        Outcome outcome = Parvts.Run(
            ["explain", "--model", DemoModel.Model, "--image", question.Image, "--prompt", question.Text, "--policy", policy, "--out", path, "--json", .. more]);
        Assert.That(outcome.Code, Is.Zero, outcome.Errors);
        const string begin = "<script type=\"application/json\" id=\"data\">";
        string html = File.ReadAllText(path);
        int start = html.IndexOf(begin) + begin.Length;
        page = JsonDocument.Parse(html[start..html.IndexOf("</script>", start)]).RootElement;
        return outcome;
    }
}
