using System.Globalization;
using System.Text.Json;
using ParVts.Runner.Output;
using Spectre.Console;

namespace ParVts.Runner.Evaluation;

/// <summary>An evaluation as a table for people, as Markdown and as JSON.</summary>
internal static class EvaluationReport
{
    /// <summary>A column a policy, a row a figure.</summary>
    public static void WriteTable(EvaluationScores scores)
    {
        Table table = Terminal.CreateTable(["", .. scores.Policies.Select(score => score.Policy)]);
        foreach (string[] row in Rows(scores))
            table.AddTextRow(row);
        Add("vision", answer => answer.Vision);
        Add("prefill", answer => answer.Prefill);
        Add("answer", answer => answer.Total);
        Terminal.Out.Write(table);

        void Add(string name, Func<EvaluationAnswer, double> time) =>
            table.AddTextRow([name, .. scores.Policies.Select(score => string.Create(CultureInfo.InvariantCulture, $"{score.Mean(time):0.0} ms"))]);
    }

    /// <summary>The same as a page; without absolute times, which mean nothing on another machine.</summary>
    public static void WriteMarkdown(string file, InferenceEngine engine, EvaluationIdentity identity, EvaluationScores scores)
    {
        using var writer = new StreamWriter(file) { NewLine = "\n" };
        writer.WriteLine($"# {identity.Model} on {identity.Data}");
        writer.WriteLine();
        writer.WriteLine(
            $"Greedy, at most {identity.MaxTokens} new tokens, template {identity.Template}, image aspect {identity.Aspect}, on {engine.DeviceName}. "
            + "Intervals are Wilson's, 95 %; p is McNemar's, exact and two-sided. Prefill is the time of all prefills "
            + "beside dense's, each question asked of one policy after another.");
        writer.WriteLine();
        WriteRow(["", .. scores.Policies.Select(score => $"`{score.Policy}`")]);
        writer.WriteLine("|---|" + string.Concat(scores.Policies.Select(_ => "---:|")));
        foreach (string[] row in Rows(scores))
            WriteRow(row);

        void WriteRow(IEnumerable<string> cells) =>
            writer.WriteLine("| " + string.Join(" | ", cells.Select(cell => cell.Trim().Replace("|", "\\|", StringComparison.Ordinal))) + " |");
    }

    /// <summary>The members of <c>eval --json</c>.</summary>
    public static void WriteJson(Utf8JsonWriter json, InferenceEngine engine, EvaluationScores scores)
    {
        json.WriteString("device", engine.DeviceName);
        json.WriteStartArray("policies");
        foreach (PolicyScore score in scores.Policies)
            WritePolicy(json, score);
        json.WriteEndArray();
        json.WriteStartArray("paired");
        foreach (PairedScore pair in scores.Pairs())
        {
            json.WriteStartObject();
            json.WriteString("a", pair.A);
            json.WriteString("b", pair.B);
            json.WriteNumber("only_a_right", pair.OnlyA);
            json.WriteNumber("only_b_right", pair.OnlyB);
            json.WriteNumber("p", pair.Probability);
            json.WriteEndObject();
        }

        json.WriteEndArray();
    }

    private static void WritePolicy(Utf8JsonWriter json, PolicyScore score)
    {
        json.WriteStartObject();
        json.WriteString("policy", score.Policy);
        json.WriteNumber("questions", score.Answers.Count);
        json.WriteNumber("correct", score.Correct);
        json.WriteNumber("accuracy", score.Accuracy);
        json.WriteNumber("accuracy_low", score.AccuracyInterval.Low);
        json.WriteNumber("accuracy_high", score.AccuracyInterval.High);
        json.WriteStartObject("by_kind");
        foreach ((string kind, double accuracy, _) in score.ByKind())
            json.WriteNumber(kind, accuracy);
        json.WriteEndObject();
        json.WriteNumber("agreement", score.Agreement);
        WriteFinite(json, "mean_kl", score.Mean(answer => answer.Divergence));
        json.WriteNumber("tokens_kept", score.Mean(answer => answer.TokensKept));
        json.WriteNumber("tokens_last_layer", score.Mean(answer => answer.TokensLastLayer));
        json.WriteNumber("flops_share", score.Mean(answer => answer.FlopsShare));
        json.WriteNumber("kv_share", score.Mean(answer => answer.KvShare));
        WriteFinite(json, "prefill_share", score.PrefillShare);
        json.WriteStartObject("mean_ms");
        json.WriteMilliseconds("vision", score.Mean(answer => answer.Vision));
        json.WriteMilliseconds("prefill", score.Mean(answer => answer.Prefill));
        json.WriteMilliseconds("first_token", score.Mean(answer => answer.FirstToken));
        json.WriteMilliseconds("total", score.Mean(answer => answer.Total));
        json.WriteEndObject();
        json.WriteEndObject();
    }

    // JSON has no word for what is not finite: no question was answered, or the logits hold NaN.
    private static void WriteFinite(Utf8JsonWriter json, string name, double value)
    {
        if (double.IsFinite(value))
            json.WriteNumber(name, value);
        else
            json.WriteNull(name);
    }

    private static IEnumerable<string[]> Rows(EvaluationScores scores)
    {
        yield return Row("questions", score => Sizes.Count(score.Answers.Count));
        yield return Row("accuracy", score => Sizes.Percent(score.Accuracy));
        yield return Row("95 % interval", score => $"{Number(100 * score.AccuracyInterval.Low, "0.0")} to {Sizes.Percent(score.AccuracyInterval.High)}");
        foreach ((string kind, _, int questions) in scores.Dense.ByKind())
        {
            yield return Row(
                $"  {kind} ({questions})",
                score => score.ByKind().Where(one => one.Kind == kind).Select(one => Sizes.Percent(one.Accuracy)).FirstOrDefault("–"));
        }

        yield return Row("p against dense", score => score == scores.Dense ? "–" : Probability(AgainstDense(score).Probability));
        yield return Row("only dense right / only it", score => score == scores.Dense ? "–" : $"{AgainstDense(score).OnlyA} / {AgainstDense(score).OnlyB}");
        yield return Row("agreement with dense", score => Sizes.Percent(score.Agreement));
        yield return Row("mean KL, nats", score => Number(score.Mean(answer => answer.Divergence), "0.0000"));
        yield return Row("visual tokens, mean of layers", score => Number(score.Mean(answer => answer.TokensKept), "0.0"));
        yield return Row("visual tokens after the last", score => Number(score.Mean(answer => answer.TokensLastLayer), "0.0"));
        yield return Row("prefill FLOPs", score => Sizes.Percent(score.Mean(answer => answer.FlopsShare)));
        yield return Row("KV rows", score => Sizes.Percent(score.Mean(answer => answer.KvShare)));
        yield return Row("prefill / dense", score => Number(score.PrefillShare, "0.00"));

        string[] Row(string name, Func<PolicyScore, string> cell) => [name, .. scores.Policies.Select(cell)];
        PairedScore AgainstDense(PolicyScore score) => PairedScore.Of(scores.Dense, score);
    }

    private static string Probability(double p) => p < 0.0001 ? "< 0.0001" : Number(p, "0.0000");

    private static string Number(double value, string format) => value.ToString(format, CultureInfo.InvariantCulture);
}
