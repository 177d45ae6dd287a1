using System.Text.Json;
using System.Xml.Linq;

namespace ParVts.Runner.Tests;

/// <summary><c>parvts eval</c> as researchers use it: published data, shards, equal budgets, a plot.</summary>
public sealed class EvalMatrixTests
{
    private static readonly string[] Equal = ["--policy", "fastv", "--policy", "vtw", "--policy", "random:keep=7", "--policy", "visipruner", "--equal", "tokens=36"];

    [Test]
    public void ShardsTogetherAreTheWhole()
    {
        string[] line = [.. Equal, "--limit", "5"];
        string whole = Scratch("shards.csv");
        string[] parts = [Scratch("shard1.csv"), Scratch("shard2.csv")];
        JsonElement expected = EvalRun.Of([.. line, "--out", whole, "--json"]).Json;
        JsonElement half = EvalRun.Of([.. line, "--shard", "1/2", "--out", parts[0], "--json"]).Json;
        Assert.That(EvalRun.Of([.. line, "--shard", "2/2", "--out", parts[1]]).Code, Is.Zero);
        string joined = Scratch("joined.csv");
        File.WriteAllText(joined, string.Concat(parts.Select(File.ReadAllText)));
        string before = File.ReadAllText(joined);
        JsonElement together = EvalRun.Of([.. line, "--out", joined, "--json"]).Json;
        using (Assert.EnterMultipleScope())
        {
            Assert.That(half.GetProperty("policies")[0].GetProperty("questions").GetInt32(), Is.EqualTo(2));
            Assert.That(File.ReadAllText(joined), Is.EqualTo(before), "nothing was asked again");
            Assert.That(together.GetProperty("paired").GetRawText(), Is.EqualTo(expected.GetProperty("paired").GetRawText()));
            foreach (string figure in new[] { "policy", "questions", "accuracy", "mean_kl", "flops_share", "kv_bytes", "peak_bytes" })
            {
                Assert.That(
                    together.GetProperty("policies").EnumerateArray().Select(policy => policy.GetProperty(figure).GetRawText()),
                    Is.EqualTo(expected.GetProperty("policies").EnumerateArray().Select(policy => policy.GetProperty(figure).GetRawText())), figure);
            }
        }
    }

    [Test]
    public void EqualBudgetsArePlotted()
    {
        string plot = Scratch("plot.svg");
        string page = Scratch("plot.md");
        JsonElement json = EvalRun.Of([.. Equal, "--limit", "2", "--plot", plot, "--markdown", page, "--json"]).Json;
        JsonElement[] policies = [.. json.GetProperty("policies").EnumerateArray()];
        string[] notes = [.. json.GetProperty("notes").EnumerateArray().Select(note => note.GetString()!)];
        XDocument svg = XDocument.Load(plot);
        string[] names = [.. policies.Select(policy => policy.GetProperty("policy").GetString()!)];
        using (Assert.EnterMultipleScope())
        {
            Assert.That(names, Has.Some.StartsWith("fastv:keep=").And.Some.EqualTo("random:keep=7").And.Some.EqualTo("visipruner"));
            Assert.That(policies[0].GetProperty("tokens_kept").GetDouble(), Is.EqualTo(36).Within(2).Percent, names[0]);
            Assert.That(policies[1].GetProperty("tokens_kept").GetDouble(), Is.EqualTo(36).Within(2).Percent, names[1]);
            Assert.That(notes, Has.Length.EqualTo(2).And.Some.StartsWith("random:keep=7 is not set").And.Some.StartsWith("visipruner is not set"));
            Assert.That(File.ReadAllText(page), Does.Contain(notes[0]).And.Contain(notes[1]));
            Assert.That(
                svg.Descendants().Where(element => element.Name.LocalName == "g").Select(element => element.Value.Split(": ")[0].Split(':')[0]).Distinct(),
                Is.EquivalentTo(["dense", "fastv", "vtw", "random", "visipruner"]));
            Assert.That(json.GetProperty("peak_process_bytes").GetInt64(), Is.GreaterThan(1 << 20));
            foreach (JsonElement policy in policies)
            {
                Assert.That(policy.GetProperty("kv_bytes").GetDouble(), Is.GreaterThan(0));
                Assert.That(policy.GetProperty("peak_bytes").GetInt64(), Is.GreaterThanOrEqualTo((long)policy.GetProperty("kv_bytes").GetDouble()));
                Assert.That(policy.GetProperty("mean_ms").GetProperty("decode").GetDouble(), Is.GreaterThanOrEqualTo(0));
            }
        }
    }

    [Test]
    public void LostFeaturesAreThoseThatEnterTheDecoder()
    {
        string[] policies = ["cls-prune:keep=143", "cls-prune:keep=1", "grid:keep=72", "random:keep=72", "fastv:layer=4,keep=9", "tome:merge=4"];
        string table = Scratch("features.csv");
        string[] line = ["--limit", "2", "--out", table, "--reconstruction", .. policies.SelectMany(policy => new[] { "--policy", policy })];
        JsonElement json = EvalRun.Of([.. line, "--json"]).Json;
        double[] losses = [.. json.GetProperty("policies").EnumerateArray().Select(policy => policy.GetProperty("reconstruction_loss").GetDouble())];
        string page = Scratch("features.md");
        JsonElement again = EvalRun.Of([.. line, "--markdown", page, "--json"]).Json;
        JsonElement without = EvalRun.Of("--limit", "1", "--json").Json;
        using (Assert.EnterMultipleScope())
        {
            Assert.That(losses[0], Is.InRange(1e-9, 0.02), "one row of 144 is gone");
            Assert.That(losses[1], Is.GreaterThan(0.9), "one row says no more than the mean does, and is not the mean");
            Assert.That(losses[2], Is.InRange(losses[0], losses[1]), policies[2]);
            Assert.That(losses[3], Is.InRange(losses[0], losses[1]), policies[3]);
            Assert.That(losses[4], Is.Zero, "all rows enter the decoder");
            Assert.That(losses[5], Is.GreaterThan(0), policies[5]);
            Assert.That(again.GetProperty("policies")[2].GetProperty("reconstruction_loss").GetDouble(), Is.EqualTo(losses[2]), "as the table has it");
            Assert.That(without.GetProperty("policies")[0].GetProperty("reconstruction_loss").ValueKind, Is.EqualTo(JsonValueKind.Null));
            Assert.That(File.ReadAllText(page), Does.Contain(" features lost ").And.Contain(" 0.0 % "));
        }
    }

    [Test]
    public void PublishedDataAreAskedAndScored()
    {
        DemoQuestion[] questions = [.. EvalRun.Questions().Where(question => question.Answer is "yes" or "no").Take(4)];
        string folder = Directory.CreateDirectory(Scratch("pope")).FullName;
        File.WriteAllText(
            Path.Combine(folder, "coco_pope_random.json"),
            string.Concat(questions.Select((question, i) => EvalSamples.Pope(i, Path.GetFileName(question.Image), "dog", question.Answer))));
        string table = Scratch("pope.csv");
        JsonElement json = Parvts.Run(
            "eval", "--model", DemoModel.Model, "--data", folder, "--images", Path.GetDirectoryName(questions[0].Image)!, "--published", "--out", table, "--json").Json;
        JsonElement dense = json.GetProperty("policies")[0];
        string text = File.ReadAllText(table);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(json.GetProperty("format").GetString(), Is.EqualTo("pope"));
            Assert.That(dense.GetProperty("questions").GetInt32(), Is.EqualTo(questions.Length));
            Assert.That(dense.GetProperty("figures").EnumerateObject().Select(figure => figure.Name), Is.EqualTo(["random precision", "random recall", "random F1", "random yes ratio"]));
            Assert.That(text, Does.Contain(",vicuna_v1,pad,128\r\n").And.Contain("Answer the question using a single word or phrase."));
        }
    }

    [TestCase("--equal", "time=3", 2, "tokens=64")]
    [TestCase("--shard", "5/4", 2, "1/4")]
    [TestCase("--format", "vqa", 2, "textvqa")]
    [TestCase("--plot", "plot.gif", 2, ".svg or .png")]
    [TestCase("--images", "none", 3, "none")]
    [TestCase("--format", "gqa", 3, "questions.jsonl")]
    public void RefusalsSayWhatIsAllowed(string option, string value, int code, string message)
    {
        Outcome outcome = EvalRun.Of(option, value);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(outcome.Code, Is.EqualTo(code), outcome.Errors);
            Assert.That(outcome.Errors, Does.Contain(message));
        }
    }

    private static string Scratch(string name) => Path.Combine(DemoModel.Scratch, "matrix-" + name);
}
