namespace ParVts.Runner.Evaluation.Benchmarks;

/// <summary>Questions of one's own: a JSON object a line. Scored by equality, see <see cref="AnswerMatch"/>.</summary>
internal sealed class PlainBenchmark : Benchmark
{
    public override string Name => "jsonl";

    // What public evaluations of short answers (VQAv2, GQA, TextVQA) need.
    public override int PublishedTokens => 16;

    public override bool Claims(DataSource source) =>
        source.IsFolder ? source.Find("eval.jsonl").Count > 0 : source.HasOuter("image", "question", "answer");

    public override IReadOnlyList<EvaluationQuestion> Read(DataSource source) =>
        EvaluationQuestion.Read(source.IsFolder ? source.Require("eval.jsonl", "it holds the questions") : source.Path);

    public override double Score(EvaluationQuestion question, string answer) => AnswerMatch.Equal(answer, question.Answer) ? 1 : 0;
}
