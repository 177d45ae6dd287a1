using System.Text.Json;

namespace ParVts.Runner.Tests;

/// <summary><c>parvts bench --compare</c>.</summary>
public sealed class BenchCompareTests
{
    private static readonly double[] s_slow = [10, 11, 12, 13, 14, 15, 16, 17];
    private static readonly double[] s_fast = [5, 5.5, 6, 6.5, 7, 7.5, 8, 8.5];

    [Test]
    public void ADifferenceIsShownWithItsProbability()
    {
        JsonElement root = Compare(BenchSample.Result("slow.json", s_slow), BenchSample.Result("fast.json", s_fast), "--json").Json;
        JsonElement[] figures = [.. root.GetProperty("figures").EnumerateArray()];
        JsonElement prefill = Figure(figures, "vtw:layer=2", "prefill_ms");
        double p = 2.0 / 12870;
        using (Assert.EnterMultipleScope())
        {
            Assert.That(figures, Has.Length.EqualTo(3), "dense's prefill, the policy's, and its share of dense's");
            Assert.That(prefill.GetProperty("ratio").GetDouble(), Is.EqualTo(6.75 / 13.5).Within(1e-12));
            Assert.That(prefill.GetProperty("p").GetDouble(), Is.EqualTo(p).Within(1e-9), "2 of the 16 over 8 deals");
            Assert.That(prefill.GetProperty("p_corrected").GetDouble(), Is.EqualTo(3 * p).Within(1e-9));
            Assert.That(prefill.GetProperty("verdict").GetString(), Is.EqualTo("faster"));
            Assert.That(prefill.GetProperty("a").GetProperty("median").GetDouble(), Is.EqualTo(13.5));
            Assert.That(Figure(figures, "vtw:layer=2", "prefill_of_dense").GetProperty("verdict").GetString(), Is.EqualTo("faster"));
            Assert.That(Figure(figures, "dense", "prefill_ms").GetProperty("p").GetDouble(), Is.EqualTo(1));
            Assert.That(Figure(figures, "dense", "prefill_ms").GetProperty("verdict").GetString(), Is.EqualTo("not shown to differ"));
            Assert.That(root.GetProperty("differences").GetArrayLength() + root.GetProperty("unpaired").GetArrayLength() + root.GetProperty("computed").GetArrayLength(), Is.Zero);
            Assert.That(root.GetProperty("too_few_rounds").GetBoolean(), Is.False);
        }
    }

    [Test]
    public void TheOtherWayRoundItIsSlower()
    {
        Outcome outcome = Compare(BenchSample.Result("fast.json", s_fast), BenchSample.Result("slow.json", s_slow), "--markdown", Scratch("c.md"), "--csv", Scratch("c.csv"));
        using (Assert.EnterMultipleScope())
        {
            Assert.That(outcome.Code, Is.Zero, outcome.Errors);
            Assert.That(outcome.Output, Does.Contain("slower").And.Contain("Mann-Whitney").And.Not.Contain("too few"));
            Assert.That(File.ReadAllText(Scratch("c.md")), Does.Contain("slower").And.Contain("--compare"));
            Assert.That(File.ReadAllLines(Scratch("c.csv")), Has.Length.EqualTo(4));
        }
    }

    [Test]
    public void TooFewRoundsAreSaid()
    {
        Outcome outcome = Compare(BenchSample.Result("slow3.json", s_slow[..3]), BenchSample.Result("fast3.json", s_fast[..3]));
        Assert.That(outcome.Output, Does.Contain("too few rounds").And.Not.Contain("faster"));
    }

    [TestCase("\"processor\": \"P\"", "\"processor\": \"Q\"", "processor: P and Q")]
    [TestCase("\"model\": \"M\"", "\"model\": \"N\"", "model: M and N")]
    [TestCase("\"warm_up\": 1", "\"warm_up\": 2", "warm-up: 1 and 2")]
    [TestCase("X64, 1 threads", "X64, 512-bit", "device cpu: X64, 1 threads and X64, 512-bit")]
    public void OtherMachinesAndSettingsAreRefusedUnlessAskedFor(string from, string to, string difference)
    {
        string a = BenchSample.Result("slow.json", s_slow);
        string b = BenchSample.Result("other.json", s_fast, (from, to));
        Outcome refused = Compare(a, b);
        Outcome anyway = Compare(a, b, "--anyway");
        using (Assert.EnterMultipleScope())
        {
            Assert.That(refused.Code, Is.EqualTo(2));
            Assert.That(refused.Output, Is.Empty);
            Assert.That(refused.Errors, Does.Contain(difference).And.Contain("--anyway"));
            Assert.That(anyway.Code, Is.Zero, anyway.Errors);
            Assert.That(anyway.Output, Does.Contain($"not the same: {difference}").And.Contain("faster"));
        }
    }

    [Test]
    public void WhatOnlyOneHasAndWhatWasComputedOtherwiseIsNamed()
    {
        string a = BenchSample.Result("slow.json", s_slow);
        JsonElement other = Compare(a, BenchSample.Result("policy.json", s_fast, ("vtw:layer=2", "vtw:layer=3"), ("\"flops\": 7", "\"flops\": 8")), "--json").Json;
        Outcome nothing = Compare(a, BenchSample.Result("images.json", s_fast, ("\"images\": 1", "\"images\": 2")));
        using (Assert.EnterMultipleScope())
        {
            Assert.That(other.GetProperty("unpaired").GetArrayLength(), Is.EqualTo(2));
            Assert.That(other.GetProperty("computed")[0].GetString(), Does.Contain("FLOPs: 7 and 8"));
            Assert.That(nothing.Code, Is.EqualTo(2));
            Assert.That(nothing.Errors, Does.Contain("nothing in common"));
        }
    }

    [TestCase("\"format\": \"parvts-bench\"", "\"format\": 3", "'format'")]
    [TestCase("\"format_version\": 1", "\"format_version\": 2", "'format_version'")]
    [TestCase("\"date\": \"2026-01-02T03:04:05Z\"", "\"date\": \"soon\"", "'date'")]
    [TestCase("\"machine\": {", "\"machines\": {", "'machine'")]
    [TestCase("\"results\": [{", "\"results\": [7, {", "'results[0]'")]
    [TestCase("\"prefill_ms\": [", "\"prefill_ms\": [3, ", "another number of rounds")]
    [TestCase("\"prefill_ms\": [", "\"prefill_ms\": [-1, ", "'results[0].rounds.prefill_ms'")]
    [TestCase("\"prefill_ms\": [", "\"prefill_ms\": [1e999, ", "'results[0].rounds.prefill_ms'")]
    [TestCase("\"threads\": 1", "\"threads\": 1.5", "'results[0].threads'")]
    [TestCase("\"model\": \"M\"", "\"model\": \"\\ud800\"", "is no JSON")]
    [TestCase("\"complete\": true", "\"complete\": tru", "is no JSON")]
    public void MalformedResultsAre3(string from, string to, string message)
    {
        Outcome outcome = Compare(BenchSample.Result("bad.json", s_slow, (from, to)), BenchSample.Result("fast.json", s_fast));
        using (Assert.EnterMultipleScope())
        {
            Assert.That(outcome.Code, Is.EqualTo(3), outcome.Errors);
            Assert.That(outcome.Errors, Does.StartWith("error: ").And.Contain("bad.json").And.Contain(message));
            Assert.That(outcome.Output, Is.Empty);
        }
    }

    private static Outcome Compare(string a, string b, params string[] more) => Parvts.Run(["bench", "--compare", a, b, .. more]);

    private static string Scratch(string name) => Path.Combine(DemoModel.Scratch, name);

    private static JsonElement Figure(JsonElement[] figures, string policy, string name) =>
        figures.Single(figure => figure.GetProperty("policy").GetString() == policy && figure.GetProperty("figure").GetString() == name);
}
