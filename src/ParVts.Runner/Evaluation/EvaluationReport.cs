using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using ParVts.Runner.Evaluation.Benchmarks;
using ParVts.Runner.Output;
using Spectre.Console;

namespace ParVts.Runner.Evaluation;

/// <summary>An evaluation as a table for people, as Markdown and as JSON.</summary>
internal static class EvaluationReport
{
    // More policies than this are read more easily one below the other.
    private const int WidestTable = 6;

    /// <summary>A column a policy, a row a figure; where there are many policies, two tables the other way round.</summary>
    public static void WriteTable(EvaluationScores scores)
    {
        foreach (string[][] cells in Tables(scores, score => score.Policy, withTimes: true))
        {
            Table table = Terminal.CreateTable(cells[0]);
            foreach (string[] row in cells[1..])
                table.AddTextRow(row);
            Terminal.Out.Write(table);
        }

        foreach (string note in scores.Notes)
            Console.Out.WriteLine($"note: {note}");
    }

    /// <summary>The same as a page; without absolute times, which mean nothing on another machine.</summary>
    public static void WriteMarkdown(string file, InferenceEngine engine, EvaluationIdentity identity, EvaluationScores scores)
    {
        using var writer = new StreamWriter(file) { NewLine = "\n" };
        writer.WriteLine($"# {identity.Model.Split(' ')[0]} on {identity.Data}");
        writer.WriteLine();
        writer.WriteLine(
            $"Greedy, at most {identity.MaxTokens} new tokens, template {identity.Template}, image aspect {identity.Aspect}, on {engine.DeviceName}. "
            + "Intervals are of 95 %, Wilson's where answers are right or wrong; p is the sign-flip test's, exact and two-sided, which is McNemar's there. Prefill is the time of all prefills "
            + "beside dense's, each question asked of one policy after another.");
        writer.WriteLine();
        foreach (string[][] cells in Tables(scores, score => $"`{score.Policy}`", withTimes: false))
        {
            WriteRow(cells[0]);
            writer.WriteLine("|---|" + string.Concat(Enumerable.Repeat("---:|", cells[0].Length - 1)));
            foreach (string[] row in cells[1..])
                WriteRow(row);
            writer.WriteLine();
        }

        foreach (string note in scores.Notes)
            writer.WriteLine($"- {note}");

        void WriteRow(IEnumerable<string> cells) =>
            writer.WriteLine("| " + string.Join(" | ", cells.Select(cell => cell.Trim().Replace("|", "\\|", StringComparison.Ordinal))) + " |");
    }

    /// <summary>The members of <c>eval --json</c>.</summary>
    public static void WriteJson(Utf8JsonWriter json, InferenceEngine engine, EvaluationScores scores)
    {
        json.WriteString("device", engine.DeviceName);
        json.WriteString("format", scores.Benchmark.Name);
        json.WriteStartArray("policies");
        foreach (PolicyScore score in scores.Policies)
            WritePolicy(json, score, scores.Benchmark);
        json.WriteEndArray();
        json.WriteStrings("notes", scores.Notes);
        json.WriteNumber("peak_process_bytes", PeakProcessBytes());
        json.WriteStartArray("paired");
        foreach (PairedScore pair in scores.Pairs())
        {
            json.WriteStartObject();
            json.WriteString("a", pair.A);
            json.WriteString("b", pair.B);
            json.WriteNumber("only_a_right", pair.OnlyA);
            json.WriteNumber("only_b_right", pair.OnlyB);
            json.WriteNumber("difference", pair.Difference);
            json.WriteNumber("p", pair.Probability);
            json.WriteEndObject();
        }

        json.WriteEndArray();
    }

    private static void WritePolicy(Utf8JsonWriter json, PolicyScore score, Benchmark benchmark)
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
        json.WriteStartObject("figures");
        foreach (Figure figure in benchmark.Figures(score))
            WriteFinite(json, figure.Name, figure.Value);
        json.WriteEndObject();
        json.WriteNumber("agreement", score.Agreement);
        WriteFinite(json, "mean_kl", score.Mean(answer => answer.Divergence));
        json.WriteNumber("tokens_kept", score.Mean(answer => answer.TokensKept));
        json.WriteNumber("tokens_last_layer", score.Mean(answer => answer.TokensLastLayer));
        json.WriteNumber("flops_share", score.Mean(answer => answer.FlopsShare));
        json.WriteNumber("kv_share", score.Mean(answer => answer.KvShare));
        WriteFinite(json, "reconstruction_loss", score.ReconstructionLoss);
        json.WriteNumber("kv_bytes", score.Mean(answer => answer.KvBytes));
        json.WriteNumber("peak_bytes", score.Answers.Select(answer => answer.PeakBytes).DefaultIfEmpty().Max());
        WriteFinite(json, "prefill_share", score.PrefillShare);
        json.WriteStartObject("mean_ms");
        json.WriteMilliseconds("vision", score.Mean(answer => answer.Vision));
        json.WriteMilliseconds("prefill", score.Mean(answer => answer.Prefill));
        json.WriteMilliseconds("decode", score.Mean(answer => answer.Decode));
        json.WriteMilliseconds("first_token", score.Mean(answer => answer.FirstToken));
        json.WriteMilliseconds("total", score.Mean(answer => answer.Total));
        json.WriteEndObject();
        json.WriteEndObject();
    }

    private static long PeakProcessBytes()
    {
        using var process = Process.GetCurrentProcess();
        return process.PeakWorkingSet64;
    }

    // JSON has no word for what is not finite: no question was answered, or the logits hold NaN.
    private static void WriteFinite(Utf8JsonWriter json, string name, double value)
    {
        if (double.IsFinite(value))
            json.WriteNumber(name, value);
        else
            json.WriteNull(name);
    }

    private static IEnumerable<string[][]> Tables(EvaluationScores scores, Func<PolicyScore, string> title, bool withTimes)
    {
        // What everything is compared with is shown, also where nobody asked for it.
        scores = scores with { Policies = scores.WithDense() };
        string[] titles = ["", .. scores.Policies.Select(title)];
        string[][] accuracies = [titles, .. Accuracies(scores)];
        string[][] costs = [titles, .. Costs(scores), .. withTimes ? Times(scores) : []];
        return scores.Policies.Count <= WidestTable ? [[.. accuracies, .. costs[1..]]] : [Turned(accuracies), Turned(costs)];
    }

    private static string[][] Turned(string[][] cells) =>
        [.. Enumerable.Range(0, cells[0].Length).Select(column => cells.Select(row => row[column].Trim()).ToArray())];

    private static IEnumerable<string[]> Accuracies(EvaluationScores scores)
    {
        yield return Row(scores, "questions", score => Sizes.Count(score.Answers.Count));
        yield return Row(scores, "accuracy", score => Sizes.Percent(score.Accuracy));
        yield return Row(
            scores, "95 % interval", score => $"{Number(100 * score.AccuracyInterval.Low, "0.0")} to {Sizes.Percent(score.AccuracyInterval.High)}");
        foreach ((string kind, _, int questions) in scores.Dense.ByKind())
        {
            yield return Row(
                scores,
                $"  {kind} ({questions})",
                score => score.ByKind().Where(one => one.Kind == kind).Select(one => Sizes.Percent(one.Accuracy)).FirstOrDefault("–"));
        }

        foreach (Figure figure in scores.Benchmark.Figures(scores.Dense))
        {
            yield return Row(scores, figure.Name, score => scores.Benchmark.Figures(score).Where(one => one.Name == figure.Name)
                .Select(one => one.IsShare ? Sizes.Percent(one.Value) : Number(one.Value, "0.00")).FirstOrDefault("–"));
        }

        yield return Row(scores, "p against dense", score => score == scores.Dense ? "–" : Probability(AgainstDense(scores, score).Probability));
    }

    private static IEnumerable<string[]> Costs(EvaluationScores scores)
    {
        yield return Row(
            scores,
            "only dense right / only it",
            score => score == scores.Dense ? "–" : $"{AgainstDense(scores, score).OnlyA} / {AgainstDense(scores, score).OnlyB}");
        yield return Row(scores, "agreement", score => Sizes.Percent(score.Agreement));
        yield return Row(scores, "mean KL, nats", score => Number(score.Mean(answer => answer.Divergence), "0.0000"));
        yield return Row(scores, "visual tokens, mean of layers", score => Number(score.Mean(answer => answer.TokensKept), "0.0"));
        yield return Row(scores, "after the last", score => Number(score.Mean(answer => answer.TokensLastLayer), "0.0"));
        yield return Row(scores, "prefill FLOPs", score => Sizes.Percent(score.Mean(answer => answer.FlopsShare)));
        yield return Row(scores, "KV rows", score => Sizes.Percent(score.Mean(answer => answer.KvShare)));
        if (scores.Policies.Any(score => double.IsFinite(score.ReconstructionLoss)))
            yield return Row(scores, "features lost", score => double.IsFinite(score.ReconstructionLoss) ? Sizes.Percent(score.ReconstructionLoss) : "–");
        yield return Row(scores, "KV store, MiB", score => Number(score.Mean(answer => answer.KvBytes) / 1048576, "0.0"));
        yield return Row(scores, "peak beside weights, MiB", score => Number(score.Answers.Select(answer => answer.PeakBytes).DefaultIfEmpty().Max() / 1048576.0, "0.0"));
        yield return Row(scores, "prefill / dense", score => Number(score.PrefillShare, "0.00"));
    }

    private static IEnumerable<string[]> Times(EvaluationScores scores)
    {
        foreach ((string name, Func<EvaluationAnswer, double> time) in new (string, Func<EvaluationAnswer, double>)[]
        {
            ("vision", answer => answer.Vision), ("prefill", answer => answer.Prefill), ("decode, a token", answer => answer.Decode), ("answer", answer => answer.Total),
        })
        {
            yield return Row(scores, name, score => string.Create(CultureInfo.InvariantCulture, $"{score.Mean(time):0.0} ms"));
        }
    }

    private static string[] Row(EvaluationScores scores, string name, Func<PolicyScore, string> cell) =>
        [name, .. scores.Policies.Select(cell)];

    private static PairedScore AgainstDense(EvaluationScores scores, PolicyScore score) => PairedScore.Of(scores.Dense, score);

    private static string Probability(double p) => p < 0.0001 ? "< 0.0001" : Number(p, "0.0000");

    private static string Number(double value, string format) => value.ToString(format, CultureInfo.InvariantCulture);
}
