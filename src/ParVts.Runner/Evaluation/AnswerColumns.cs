using System.Diagnostics.CodeAnalysis;
using System.Globalization;

namespace ParVts.Runner.Evaluation;

/// <summary>The columns of a table of answers. Pure functions; any thread.</summary>
internal static class AnswerColumns
{
    /// <summary>Their names; <see cref="Write"/> and <see cref="TryRead"/> keep this order.</summary>
    public static IReadOnlyList<string> Names { get; } =
    [
        "policy", "id", "image", "kind", "question", "expected", "answer", "correct", "agrees", "new_tokens", "kl", "tokens_kept",
        "tokens_last_layer", "flops_share", "kv_share", "reconstruction_loss", "vision_ms", "prefill_ms", "prefill_dense_ms", "decode_ms", "kv_bytes", "peak_bytes", "first_token_ms", "total_ms",
        "model", "data", "template", "image_aspect", "max_tokens",
    ];

    /// <summary>A row's cells. Figures are written so that they are read back as they were; times to the microsecond.</summary>
    public static string[] Write(string policy, EvaluationQuestion question, EvaluationAnswer answer, EvaluationIdentity identity) =>
    [
        policy, question.Id, question.Image, question.Kind ?? "", question.Question, question.Answer,
        answer.Text, Exact(answer.Score), Flag(answer.Agrees), $"{answer.Tokens}", Exact(answer.Divergence), Exact(answer.TokensKept),
        $"{answer.TokensLastLayer}", Exact(answer.FlopsShare), Exact(answer.KvShare), Exact(answer.ReconstructionLoss), Time(answer.Vision), Time(answer.Prefill),
        Time(answer.DensePrefill), Time(answer.Decode), $"{answer.KvBytes}", $"{answer.PeakBytes}", Time(answer.FirstToken), Time(answer.Total),
        identity.Model, identity.Data, identity.Template, identity.Aspect, $"{identity.MaxTokens}",
    ];

    /// <summary>Reads a row; false where it is none.</summary>
    public static bool TryRead(
        string[] cells, out string policy, [NotNullWhen(true)] out EvaluationQuestion? question,
        [NotNullWhen(true)] out EvaluationAnswer? answer, [NotNullWhen(true)] out EvaluationIdentity? identity)
    {
        policy = "";
        question = null;
        answer = null;
        identity = null;
        if (cells.Length != Names.Count)
            return false;
        var row = new Cells(cells);
        policy = row.Text();
        question = new EvaluationQuestion(row.Text(), row.Text(), Kind: EvaluationQuestion.KindOf(row.Text()), Question: row.Text(), Answer: row.Text());
        answer = new EvaluationAnswer
        {
            Text = row.Text(),
            Score = row.Number(),
            Agrees = row.Whole() != 0,
            Tokens = row.Whole(),
            Divergence = row.Number(),
            TokensKept = row.Number(),
            TokensLastLayer = row.Whole(),
            FlopsShare = row.Number(),
            KvShare = row.Number(),
            ReconstructionLoss = row.Number(),
            Vision = row.Number(),
            Prefill = row.Number(),
            DensePrefill = row.Number(),
            Decode = row.Number(),
            KvBytes = row.Long(),
            PeakBytes = row.Long(),
            FirstToken = row.Number(),
            Total = row.Number(),
        };
        identity = new EvaluationIdentity(row.Text(), row.Text(), row.Text(), row.Text(), row.Whole());
        return row.IsGood;
    }

    private static string Flag(bool value) => value ? "1" : "0";

    private static string Exact(double value) => value.ToString("R", CultureInfo.InvariantCulture);

    private static string Time(double value) => value.ToString("0.###", CultureInfo.InvariantCulture);

    /// <summary>Takes a row's cells one after another.</summary>
    private sealed class Cells(string[] cells)
    {
        private int _next;

        /// <summary>Every number so far was one.</summary>
        public bool IsGood { get; private set; } = true;

        public string Text() => cells[_next++];

        public int Whole()
        {
            IsGood &= int.TryParse(Text(), NumberStyles.Integer, CultureInfo.InvariantCulture, out int value);
            return value;
        }

        public long Long()
        {
            IsGood &= long.TryParse(Text(), NumberStyles.Integer, CultureInfo.InvariantCulture, out long value);
            return value;
        }

        public double Number()
        {
            IsGood &= double.TryParse(Text(), NumberStyles.Float, CultureInfo.InvariantCulture, out double value);
            return value;
        }
    }
}
