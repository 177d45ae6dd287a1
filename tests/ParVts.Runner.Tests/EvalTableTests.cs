using System.Globalization;
using System.Text.Json;
using ParVts.Engine.Formats;
using ParVts.Runner.Evaluation;

namespace ParVts.Runner.Tests;

/// <summary>The table of <c>eval --out</c>: what is in it, and that an evaluation goes on from it.</summary>
public sealed class EvalTableTests
{
    private const int Questions = 4;

    private static readonly string[] Policies =
        ["--policy", "parvts:keep=36,migrate=1", "--policy", "fastv:layer=2,keep=36", "--limit", $"{Questions}"];

    [Test]
    public void AnotherModelInAFolderOfTheSameNameIsAnother()
    {
        string copy = Directory.CreateDirectory(Path.Combine(DemoModel.Scratch, "other", "model")).FullName;
        foreach (string file in Directory.GetFiles(DemoModel.Model))
            File.Copy(file, Path.Combine(copy, Path.GetFileName(file)), overwrite: true);
        string original = ModelFingerprint.Of(DemoModel.Model);
        Assert.That(ModelFingerprint.Of(copy), Is.EqualTo(original), "the same files are the same model");
        using (FileStream weights = File.Open(Path.Combine(copy, "model.safetensors"), FileMode.Open))
        {
            weights.Position = weights.Length / 2;
            weights.Write(new byte[weights.Length / 4]);
        }

        Assert.That(ModelFingerprint.Of(copy), Is.Not.EqualTo(original).And.StartWith("model "));
    }

    [Test]
    public void FiguresAreWhatTheScheduleImplies()
    {
        string table = Scratch("eval-figures.csv");
        string page = Scratch("eval-figures.md");
        JsonElement json = EvalRun.Of("--policy", "dense", "--policy", "vtw:layer=4", "--policy", "vtw:layer=0", "--out", table, "--markdown", page, "--json").Json;
        JsonElement[] policies = [.. json.GetProperty("policies").EnumerateArray()];
        Dictionary<string, string>[] rows = Read(table);
        DemoQuestion first = EvalRun.Questions()[0];
        int prompt = Parvts.Run("run", "--model", DemoModel.Model, "--image", first.Image, "--prompt", first.Text, "--json")
            .Json.GetProperty("prompt_tokens").GetInt32();
        using (Assert.EnterMultipleScope())
        {
            Assert.That(Figure(policies, "mean_kl")[0], Is.Zero);
            Assert.That(Figure(policies, "mean_kl")[1..], Is.All.GreaterThan(0));
            Assert.That(Figure(policies, "tokens_kept"), Is.EqualTo([144, 72, 0]), "of 8 layers: all, 4, none");
            Assert.That(Figure(policies, "tokens_last_layer"), Is.EqualTo([144, 0, 0]));
            Assert.That(Figure(policies, "flops_share"), Is.Ordered.Descending);
            Assert.That(Figure(policies, "agreement")[0], Is.EqualTo(1));
            Assert.That(Figure(policies, "agreement")[2], Is.LessThan(1));
            double[] kv = [.. rows.Take(3).Select(row => Number(row, "kv_share"))];
            Assert.That(kv, Is.EqualTo([1, 1 - 72.0 / prompt, 1 - 144.0 / prompt]).Within(1e-12));
            for (int i = 0; i < policies.Length; i++)
            {
                Dictionary<string, string>[] own = [.. rows.Where((_, row) => row % 3 == i)];
                double share = own.Sum(row => Number(row, "prefill_ms")) / own.Sum(row => Number(row, "prefill_dense_ms"));
                Assert.That(Figure(policies, "prefill_share")[i], Is.EqualTo(share).Within(0.1).Percent);
                Assert.That(Figure(policies, "accuracy_low")[i], Is.LessThanOrEqualTo(Figure(policies, "accuracy")[i]));
                Assert.That(Figure(policies, "accuracy_high")[i], Is.GreaterThan(Figure(policies, "accuracy")[i]));
            }

            Assert.That(File.ReadAllLines(page), Has.Some.StartsWith("| mean KL, nats | 0.0000 | "));
        }
    }

    [Test]
    public void DivergenceIsThatOfTheDumpedLogits()
    {
        string table = Scratch("divergence.csv");
        _ = EvalRun.Of("--policy", "fastv:layer=2,keep=36", "--limit", "1", "--out", table, "--json").Json;
        double[] dense = FirstDistribution("dense");
        double[] policy = FirstDistribution("fastv:layer=2,keep=36");
        double expected = dense.Zip(policy).Sum(pair => pair.First * Math.Log(pair.First / pair.Second));
        double reverse = policy.Zip(dense).Sum(pair => pair.First * Math.Log(pair.First / pair.Second));
        using (Assert.EnterMultipleScope())
        {
            Assert.That(Number(Read(table)[1], "kl"), Is.EqualTo(expected).Within(1e-9));
            Assert.That(reverse, Is.Not.EqualTo(expected).Within(1).Percent, "the test's data tell the directions apart");
        }
    }

    [Test]
    public void PairsAreCountedQuestionByQuestion()
    {
        string table = Scratch("pairs.csv");
        JsonElement json = EvalRun.Of("--policy", "vtw:layer=0", "--policy", "random:keep=36", "--out", table, "--json").Json;
        var rows = Read(table).GroupBy(row => row["policy"].Split(':')[0]).ToDictionary(
            group => group.Key, group => group.Select(row => row["correct"] == "1").ToArray());
        JsonElement[] pairs = [.. json.GetProperty("paired").EnumerateArray()];
        using (Assert.EnterMultipleScope())
        {
            Assert.That(json.GetProperty("policies").GetArrayLength(), Is.EqualTo(2), "dense was not asked for");
            Assert.That(rows.Keys, Is.EquivalentTo(["dense", "vtw", "random"]), "but is in the table");
            Assert.That(
                pairs.Select(pair => (pair.GetProperty("a").GetString(), pair.GetProperty("b").GetString())),
                Is.EqualTo([("dense", "vtw:layer=0"), ("dense", "random:keep=36"), ("vtw:layer=0", "random:keep=36")]));
            foreach (JsonElement pair in pairs)
            {
                bool[] a = rows[pair.GetProperty("a").GetString()!.Split(':')[0]];
                bool[] b = rows[pair.GetProperty("b").GetString()!.Split(':')[0]];
                int onlyA = a.Zip(b).Count(right => right.First && !right.Second);
                int onlyB = a.Zip(b).Count(right => right.Second && !right.First);
                Assert.That(pair.GetProperty("only_a_right").GetInt32(), Is.EqualTo(onlyA));
                Assert.That(pair.GetProperty("only_b_right").GetInt32(), Is.EqualTo(onlyB));
                Assert.That(pair.GetProperty("p").GetDouble(), Is.EqualTo(EvaluationStatistics.McNemar(onlyA, onlyB)).Within(1e-12));
            }

            Assert.That(pairs[0].GetProperty("only_a_right").GetInt32(), Is.GreaterThan(0), "the test's data tell them apart");
        }
    }

    [Test]
    public void KilledEvaluationGoesOn()
    {
        string whole = Scratch("whole.csv");
        string cut = Scratch("cut.csv");
        JsonElement expected = EvalRun.Of([.. Policies, "--out", whole, "--json"]).Json;
        string text = File.ReadAllText(whole);
        string[] lines = text.Split("\r\n");
        Assert.That(lines, Has.Length.EqualTo(1 + 3 * Questions + 1));
        int middle = text.IndexOf(lines[6], StringComparison.Ordinal);

        // Within the header; before a line's last byte; within a quoted cell that holds a comma; in the middle of a number
        // of the last line; at the end.
        int[] kept = [20, middle - 1, middle + 12, text.Length - 4, text.Length];
        using (Assert.EnterMultipleScope())
        {
            foreach (int length in kept)
            {
                File.WriteAllText(cut, text[..length]);
                JsonElement resumed = EvalRun.Of([.. Policies, "--out", cut, "--json"]).Json;
                int untouched = text.LastIndexOf("\r\n", Math.Max(0, length - 2), StringComparison.Ordinal) + 2;
                string after = File.ReadAllText(cut);
                Assert.That(after, Does.StartWith(text[..Math.Max(0, untouched)]), $"{length}: answers were asked for again");
                Assert.That(after == text, Is.EqualTo(length == text.Length), $"{length}: only what was missing is new");
                Assert.That(Timeless(cut), Is.EqualTo(Timeless(whole)), $"{length}");
                Assert.That(Timeless(resumed), Is.EqualTo(Timeless(expected)), $"{length}");
            }
        }
    }

    [Test]
    public void HalfALineIsDroppedEvenWhereNothingFollows()
    {
        string table = Scratch("half.csv");
        string[] line = ["--limit", "1", "--out", table];
        Assert.That(EvalRun.Of(line).Code, Is.Zero);
        string text = File.ReadAllText(table);
        File.WriteAllText(table, text + "dense,2,\"half a que");
        Assert.That(EvalRun.Of(line).Code, Is.Zero);
        Assert.That(File.ReadAllText(table), Is.EqualTo(text));
    }

    [Test]
    public void TakesInMoreQuestionsAndPolicies()
    {
        string table = Scratch("more.csv");
        _ = EvalRun.Of("--policy", "fastv:keep=36,layer=2", "--limit", "2", "--out", table, "--json").Json;
        string before = File.ReadAllText(table);
        JsonElement grown = EvalRun.Of([.. Policies, "--out", table, "--json"]).Json;
        JsonElement fresh = EvalRun.Of([.. Policies, "--json"]).Json;
        using (Assert.EnterMultipleScope())
        {
            Assert.That(Read(table), Has.Length.EqualTo(3 * Questions), "a policy is the same however it is written");
            Assert.That(File.ReadAllText(table), Does.StartWith(before));
            Assert.That(Timeless(grown), Is.EqualTo(Timeless(fresh)));
        }
    }

    [Test]
    public void AnotherEvaluationsTableIsRefused()
    {
        string table = Scratch("foreign.csv");
        string[] line = ["--limit", "1", "--out", table];
        Assert.That(EvalRun.Of(line).Code, Is.Zero);
        string otherName = EvalRun.WriteQuestions("other.jsonl", _ => { });
        string otherAnswers = EvalRun.WriteQuestions("changed/questions.jsonl", question => question["answer"] += "s");
        using (Assert.EnterMultipleScope())
        {
            Refused(EvalRun.Of([.. line, "--max-tokens", "3"]), "--max-tokens is '16' there and '3' here");
            Refused(EvalRun.Of([.. line, "--image-aspect", "crop"]), "--image-aspect");
            Refused(EvalRun.OfData(otherName, line), "other.jsonl");
            Refused(EvalRun.OfData(otherAnswers, line), "question '1'");

            string text = File.ReadAllText(table);
            foreach (string other in new[] { "important, and with another line end\n", "a,b\r\n1,2\r\n", text[..^4] + ",2\r\n" })
            {
                File.WriteAllText(table, other);
                Refused(EvalRun.Of(line), table);
            }

            Assert.That(EvalRun.Of([.. line, "--max-tokens", "3", "--restart"]).Code, Is.Zero);
            Assert.That(Read(table).Select(row => row["max_tokens"]), Is.EqualTo(["3"]));
        }

        void Refused(Outcome outcome, string message)
        {
            Assert.That(outcome.Code, Is.EqualTo(2), outcome.Errors);
            Assert.That(outcome.Errors, Does.Contain(message).And.Contain("--restart").And.Contain("--out"));
        }
    }

    [Test]
    public void RefusalLeavesTheFileAsItWas()
    {
        string file = Scratch("notes.txt");
        File.WriteAllText(file, "policy notes");
        Assert.That(EvalRun.Of("--limit", "1", "--out", file).Code, Is.EqualTo(2));
        Assert.That(File.ReadAllText(file), Is.EqualTo("policy notes"));
    }

    private static string Scratch(string name) => Path.Combine(DemoModel.Scratch, name);

    private static Dictionary<string, string>[] Read(string table)
    {
        List<string[]> records = Csv.Read(File.ReadAllBytes(table), out _);
        return [.. records.Skip(1).Select(record => records[0].Zip(record).ToDictionary(pair => pair.First, pair => pair.Second))];
    }

    private static double Number(Dictionary<string, string> row, string column) =>
        double.Parse(row[column], CultureInfo.InvariantCulture);

    private static double[] Figure(JsonElement[] policies, string name) =>
        [.. policies.Select(policy => policy.GetProperty(name).GetDouble())];

    // What 'parvts dump' says of the first question's first new token.
    private static double[] FirstDistribution(string policy)
    {
        string file = Scratch("logits.safetensors");
        DemoQuestion question = EvalRun.Questions()[0];
        Outcome outcome = Parvts.Run(
            "dump", "--model", DemoModel.Model, "--image", question.Image, "--prompt", question.Text, "--policy", policy, "--stages", "logits",
            "--max-tokens", "1", "--out", file);
        Assert.That(outcome.Code, Is.Zero, outcome.Errors);
        using SafetensorsFile dump = SafetensorsFile.Open(file);
        double[] weights = [.. dump.Tensors["logits"].ToFloats().Select(logit => Math.Exp(logit))];
        return [.. weights.Select(weight => weight / weights.Sum())];
    }

    // All that does not depend on the clock.
    private static string[] Timeless(string table) =>
        [.. Read(table).Select(row => string.Join('|', row.Where(cell => !cell.Key.EndsWith("_ms")).Select(cell => cell.Value)))];

    private static string[] Timeless(JsonElement json) =>
    [
        .. json.GetProperty("policies").EnumerateArray().Select(policy => string.Join('|', policy.EnumerateObject()
            .Where(member => member.Name is not ("mean_ms" or "prefill_share")).Select(member => $"{member.Name} {member.Value}"))),
        json.GetProperty("paired").GetRawText(),
    ];
}
