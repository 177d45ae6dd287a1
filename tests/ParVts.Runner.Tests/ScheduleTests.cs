using System.Text.Json;
using ParVts.Engine.Formats;

namespace ParVts.Runner.Tests;

/// <summary>Policies from the command line: the trace of run, the tensors of dump, plan, the picture of run --show.</summary>
public sealed class ScheduleTests
{
    private const string ParVts = "parvts:keep=36,migrate=3,fuse=lse";
    private const int Visual = 144;

    [Test]
    public void TheTraceSaysWhatWasComputedAndKept()
    {
        DemoQuestion question = DemoModel.Question("count");
        JsonElement root = Run(question, ParVts).Json;
        JsonElement trace = root.GetProperty("trace");
        int s = trace.GetProperty("prefix").GetInt32();
        int m = trace.GetProperty("text").GetInt32();
        int[] rows = trace.GetProperty("rows_by_layer").Numbers();
        JsonElement split = trace.GetProperty("events")[0];
        JsonElement fuse = trace.GetProperty("events")[1];
        using (Assert.EnterMultipleScope())
        {
            Assert.That(root.GetProperty("policy").GetString(), Is.EqualTo(ParVts));
            Assert.That(rows[..3], Is.All.EqualTo(s + Visual + 2 * m));
            Assert.That(rows[3..], Is.All.EqualTo(s + 36 + m));
            Assert.That(trace.GetProperty("keys_by_layer").Numbers(), Is.EqualTo(rows));
            Assert.That(trace.GetProperty("kv_rows_by_layer").Numbers(), Is.All.EqualTo(s + 36 + m));
            Assert.That(trace.GetProperty("flops").GetInt64(), Is.LessThan(trace.GetProperty("flops_dense").GetInt64()));
            Assert.That(trace.GetProperty("flops_by_layer").Longs().Sum(), Is.EqualTo(trace.GetProperty("flops").GetInt64()));
            Assert.That(trace.GetProperty("flops_counted_by_layer").Longs(), Is.EqualTo(trace.GetProperty("flops_by_layer").Longs()).Within(1).Percent);
            Assert.That(trace.GetProperty("kv_bytes_by_layer").Longs(), Is.All.EqualTo((s + 36 + m) * 2L * 3 * 64 * 4), "3 KV heads of 64, float32");
            Assert.That(trace.GetProperty("pairs_by_layer").Longs()[7], Is.EqualTo((s + 36 + m) * (s + 36 + m + 1L) / 2), "causal");
            Assert.That(trace.GetProperty("pairs_visual").GetInt64(), Is.Positive);
            Assert.That(split.GetProperty("kind").GetString(), Is.EqualTo("split"));
            Assert.That(split.GetProperty("kept").GetArrayLength(), Is.EqualTo(Visual));
            Assert.That(split.GetProperty("subject").Numbers(), Is.EqualTo(fuse.GetProperty("kept").Numbers()));
            Assert.That(split.GetProperty("score").GetString(), Is.EqualTo("class-token attention"));
            Assert.That(split.GetProperty("margin").GetDouble(), Is.Positive);
            Assert.That(fuse.GetProperty("layer").GetInt32(), Is.EqualTo(3));
            Assert.That(fuse.GetProperty("kept").GetArrayLength(), Is.EqualTo(36));
            Assert.That(fuse.GetProperty("weights").GetArrayLength(), Is.EqualTo(m));
        }
    }

    [Test]
    public void ADumpHoldsRowsOfBothPathsAndWhatWasKept()
    {
        DemoQuestion question = DemoModel.Question("count");
        string file = Path.Combine(DemoModel.Scratch, "schedule.safetensors");
        Outcome outcome = Parvts.Run(
            "dump", "--model", DemoModel.Model, "--image", question.Image, "--prompt", question.Text, "--policy", ParVts, "--max-tokens", "2",
            "--ignore-eos", "--out", file);
        Assert.That(outcome.Code, Is.Zero, outcome.Errors);
        using SafetensorsFile dump = SafetensorsFile.Open(file);
        long[] both = dump.Tensors["rows.2"].ToIntegers();
        long[] fused = dump.Tensors["rows.3"].ToIntegers();
        long[] kept = dump.Tensors["kept.3"].ToIntegers();
        long[] ids = dump.Tensors["input_ids"].ToIntegers();
        int prefix = (int)both.TakeWhile((row, i) => row == i).Count(row => row < ids.ToList().IndexOf(ids.GroupBy(id => id).OrderByDescending(g => g.Count()).First().Key));
        int text = ids.Length - prefix - Visual;
        using (Assert.EnterMultipleScope())
        {
            Assert.That(dump.Tensors["hidden.2"].Shape[0], Is.EqualTo(both.Length));
            Assert.That(both, Has.Length.EqualTo(ids.Length + text));
            Assert.That(both.Distinct().Order(), Is.EqualTo(Enumerable.Range(0, ids.Length).Select(i => (long)i)), "every row, the question twice");
            Assert.That(both.GroupBy(row => row).Where(group => group.Count() == 2).Select(group => group.Key).Order(),
                Is.EqualTo(Enumerable.Range(prefix + Visual, text).Select(i => (long)i)));
            Assert.That(fused, Is.EqualTo(both[..fused.Length]), "the drop is a truncation");
            Assert.That(fused.Skip(prefix).Take(36).Select(row => row - prefix), Is.EqualTo(kept));
            Assert.That(dump.Tensors["scores.0"].Shape, Is.EqualTo(new long[] { Visual }));
            Assert.That(dump.Tensors.ContainsKey("kept.0"), Is.False, "nothing left before the decoder");
            Assert.That(dump.Tensors["kv_lengths"].ToIntegers(), Is.All.EqualTo(fused.Length));
            Assert.That(dump.Tensors["hidden.8"].Shape[0], Is.EqualTo(fused.Length));
        }
    }

    [Test]
    public void PlanKnowsTheScheduleBeforehand()
    {
        DemoQuestion question = DemoModel.Question("count");
        JsonElement trace = Run(question, ParVts).Json.GetProperty("trace");
        JsonElement plan = Parvts.Run(
            "plan", "--model", DemoModel.Model, "--image", question.Image, "--prompt", question.Text, "--policy", ParVts, "--json").Json;
        JsonElement dense = Parvts.Run(
            "plan", "--model", DemoModel.Model, "--image", question.Image, "--prompt", question.Text, "--json").Json;
        using (Assert.EnterMultipleScope())
        {
            foreach (string name in new[] { "flops", "flops_dense" })
                Assert.That(plan.GetProperty(name).GetInt64(), Is.EqualTo(trace.GetProperty(name).GetInt64()), name);
            foreach (string name in new[] { "rows_by_layer", "kv_rows_by_layer" })
                Assert.That(plan.GetProperty(name).Numbers(), Is.EqualTo(trace.GetProperty(name).Numbers()), name);
            Assert.That(Kv(plan), Is.LessThan(Kv(dense)), "fewer pages");
        }

        static long Kv(JsonElement root) => root.GetProperty("memory_bytes").GetProperty("kv").GetInt64();
    }

    [Test]
    public void ShowSaysHowManyTokensStayed()
    {
        DemoQuestion question = DemoModel.Question("count");
        Outcome outcome = Parvts.Run(
            "run", "--model", DemoModel.Model, "--image", question.Image, "--prompt", question.Text, "--policy", ParVts, "--show");
        Assert.That(outcome.Code, Is.Zero, outcome.Errors);
        Assert.That(outcome.Errors, Does.Contain("36 of 144 visual tokens stayed"));
    }

    [Test]
    public void PoliciesListsEveryOneWithItsParameters()
    {
        JsonElement list = Parvts.Run("policies", "--json").Json.GetProperty("policies");
        string[] names = [.. list.EnumerateArray().Select(policy => policy.GetProperty("name").GetString()!)];
        Assert.That(names, Is.SupersetOf(new[] { "dense", "parvts", "cls-prune", "fastv", "vtw", "random", "grid" }));
        string text = Parvts.Run("policies", "parvts").Output;
        foreach (string part in new[] { "keep=64", "migrate=3", "fuse=mean", "budget=per-image", "2511.18875" })
            Assert.That(text, Does.Contain(part));
    }

    [Test]
    public void TuneWritesTheCheapestSettingThatStaysClose()
    {
        DemoQuestion question = DemoModel.Question("count");
        string file = Path.Combine(DemoModel.Scratch, "tuned.json");
        string[] arguments =
        [
            "tune", "--model", DemoModel.Model, "--images", Path.GetDirectoryName(question.Image)!, "--limit", "3", "--prompt", question.Text,
            "--policy", "vtw", "--out", file, "--json",
        ];
        JsonElement root = Parvts.Run([.. arguments, "--threshold", "5"]).Json;
        JsonElement[] trials = [.. root.GetProperty("trials").EnumerateArray()];
        string chosen = root.GetProperty("policy").GetString()!;
        JsonElement best = trials.Single(trial => trial.GetProperty("policy").GetString() == chosen);
        JsonElement written = JsonDocument.Parse(File.ReadAllText(file)).RootElement;
        using (Assert.EnterMultipleScope())
        {
            Assert.That(best.GetProperty("mean_kl").GetDouble(), Is.LessThan(5));
            Assert.That(best.GetProperty("prompts").GetInt32(), Is.EqualTo(3));
            Assert.That(
                trials.Where(trial => trial.GetProperty("flops_share").GetDouble() < best.GetProperty("flops_share").GetDouble())
                    .Select(trial => trial.GetProperty(trial.TryGetProperty("mean_kl", out _) ? "mean_kl" : "mean_kl_at_least").GetDouble()),
                Is.All.GreaterThanOrEqualTo(5.0), "what is cheaper was too far off");
            Assert.That(written.GetProperty("policy").GetString(), Is.EqualTo(chosen));
            Assert.That(written.GetProperty("version").GetInt32(), Is.EqualTo(1));
            Assert.That(Run(question, "@" + file).Json.GetProperty("policy").GetString(), Is.EqualTo(chosen));
        }

        File.Delete(file);
        Outcome none = Parvts.Run([.. arguments, "--threshold", "1e-30"]);
        Assert.That(none.Code, Is.EqualTo(1));
        Assert.That(none.Errors, Does.Contain("no setting"));
        Assert.That(File.Exists(file), Is.False);
    }

    [Test]
    public void TuneFindsASetOfLayers()
    {
        DemoQuestion question = DemoModel.Question("count");
        string file = Path.Combine(DemoModel.Scratch, "tuned-set.json");
        JsonElement root = Parvts.Run(
            "tune", "--model", DemoModel.Model, "--images", Path.GetDirectoryName(question.Image)!, "--limit", "2", "--prompt", question.Text,
            "--policy", "shortv", "--out", file, "--json", "--threshold", "1").Json;
        string chosen = root.GetProperty("policy").GetString()!;
        string[] tried = [.. root.GetProperty("trials").EnumerateArray().Select(trial => trial.GetProperty("policy").GetString()!)];
        int layers = root.GetProperty("settings").GetInt32();
        Assert.That(tried[0].Split('/'), Has.Length.EqualTo(layers), "all layers frozen: the cheapest comes first");
        Assert.That(tried[^1], Is.EqualTo(chosen));
        for (int i = 1; i < tried.Length; i++)
            Assert.That(tried[i - 1], Does.StartWith(tried[i] + "/"), "what is left out is what changes the answer most alone");
        Assert.That(chosen.Split('/'), Has.Length.LessThan(layers));
        Assert.That(Run(question, "@" + file).Json.GetProperty("policy").GetString(), Is.EqualTo(chosen));
        File.Delete(file);
    }

    // A merged row's label is no patch: dump, explain and the overlay of a verbose run leave it out.
    [TestCase("visionzip:dominant=9,contextual=3")]
    [TestCase("visiondrop:dominant=9/5,contextual=3/2,layers=3")]
    [TestCase("tome:merge=4")]
    [TestCase("prumerge")]
    public void WhatMergesIsToldByEveryCommand(string policy)
    {
        DemoQuestion question = DemoModel.Question("count");
        string[] arguments = ["--model", DemoModel.Model, "--image", question.Image, "--prompt", question.Text, "--policy", policy, "--max-tokens", "2"];
        string tensors = Path.Combine(DemoModel.Scratch, "merged.safetensors");
        string report = Path.Combine(DemoModel.Scratch, "merged.html");
        Assert.That(Parvts.Run(["run", .. arguments, "--verbose"]).Code, Is.Zero);
        Assert.That(Parvts.Run(["dump", .. arguments, "--out", tensors]).Code, Is.Zero);
        Assert.That(Parvts.Run(["explain", .. arguments, "--out", report]).Code, Is.Zero);
        JsonElement trace = Parvts.Run(["run", .. arguments, "--json"]).Json.GetProperty("trace");
        Assert.That(trace.GetProperty("events").GetArrayLength(), Is.Positive);
        File.Delete(tensors);
        File.Delete(report);
    }

    private static Outcome Run(DemoQuestion question, string policy) => Parvts.Run(
        "run", "--model", DemoModel.Model, "--image", question.Image, "--prompt", question.Text, "--policy", policy, "--json");
}
