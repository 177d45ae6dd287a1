using ParVts.Runner.Evaluation;
using ParVts.Runner.Evaluation.Benchmarks;

namespace ParVts.Runner.Tests;

/// <summary>Each benchmark's scoring against cases worked out by hand from the published rules.</summary>
public sealed class EvalScorerTests
{
    // The first sentence, commas out; "no" where one of its words is exactly No, no or not.
    [TestCase("Yes", true)]
    [TestCase("Yes, there is a dog.", true)]
    [TestCase("No, there is no dog", false)]
    [TestCase("no", false)]
    [TestCase("There is not a dog in it", false)]
    [TestCase("NO", true)]
    [TestCase("Yes. No doubt.", true)]
    [TestCase("nothing", true)]
    [TestCase("", true)]
    public void PopeReadsYesAndNo(string answer, bool yes)
    {
        Assert.That(Pope.SaysYes(answer), Is.EqualTo(yes));
        Assert.That(new Pope().Score(Question("x", "yes"), answer), Is.EqualTo(yes ? 1 : 0));
        Assert.That(new Pope().Score(Question("x", "no"), answer), Is.EqualTo(yes ? 0 : 1));
    }

    // Split "a": right yes yes yes no, said yes yes no yes: TP 2, FP 1, FN 1, TN 0. Precision 2/3, recall 2/3, F1 2/3, yes ratio 3/4.
    // Split "b": right yes no, said no no: TP 0, FP 0, FN 1, TN 1. Precision 0 (of nothing), recall 0, F1 0, yes ratio 0.
    [Test]
    public void PopesFiguresAreAsByHand()
    {
        PolicyScore score = Score(
            new Pope(), ("a", "i", "yes", "Yes"), ("a", "i", "yes", "Yes"), ("a", "i", "yes", "No"), ("a", "i", "no", "Yes"), ("b", "i", "yes", "No"), ("b", "i", "no", "No"));
        Dictionary<string, double> figures = new Pope().Figures(score).ToDictionary(figure => figure.Name, figure => figure.Value);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(score.Accuracy, Is.EqualTo(3.0 / 6).Within(1e-12), "two right in a, one in b");
            foreach (string name in new[] { "a precision", "a recall", "a F1" })
                Assert.That(figures[name], Is.EqualTo(2.0 / 3).Within(1e-12), name);
            Assert.That(figures["a yes ratio"], Is.EqualTo(0.75));
            Assert.That(new[] { "b precision", "b recall", "b F1", "b yes ratio" }.Select(name => figures[name]), Is.All.Zero);
            Assert.That(figures["F1, mean of splits"], Is.EqualTo(1.0 / 3).Within(1e-12));
            Assert.That(figures["yes ratio, mean of splits"], Is.EqualTo(0.375).Within(1e-12));
        }
    }

    // Full stops at the end go, the rest must be equal in lower case.
    [TestCase("Blue.", "blue", 1)]
    [TestCase("blue", "blue", 1)]
    [TestCase("No...", "no", 1)]
    [TestCase("light blue", "blue", 0)]
    [TestCase("blue!", "blue", 0)]
    public void GqaIsExact(string answer, string right, double score) =>
        Assert.That(new Gqa().Score(Question("x", right), answer), Is.EqualTo(score));

    // n of ten people said so. Leaving one of them out leaves n - 1, leaving one of the others out leaves n; each third of three counts.
    // 1: (1·0 + 9·1)/30 = 0.3; 2: (2·1 + 8·2)/30 = 0.6; 3: (3·2 + 7·3)/30 = 0.9; from 4 on 30/30.
    [TestCase(0, 0)]
    [TestCase(1, 0.3)]
    [TestCase(2, 0.6)]
    [TestCase(3, 0.9)]
    [TestCase(4, 1)]
    [TestCase(10, 1)]
    public void TextVqaIsSoft(int people, double score)
    {
        string answers = string.Join('\n', Enumerable.Repeat("Nokia", people).Concat(Enumerable.Range(people, 10 - people).Select(i => $"other {i}")));
        Assert.That(new TextVqa().Score(Question("x", answers), "nokia"), Is.EqualTo(score));
    }

    // Lower case; commas and question marks out; articles out; numbers as digits; contractions with their apostrophes. A mark leaves
    // a space, but nothing at all where it stands beside a space anywhere in the answer.
    [TestCase("The Cat", "cat")]
    [TestCase("a, b?", "b")]
    [TestCase("Ten dogs", "10 dogs")]
    [TestCase("none", "0")]
    [TestCase("dont", "don't")]
    [TestCase("couldnt've", "couldn't've")]
    [TestCase("couldn'tve", "couldn't've")]
    [TestCase("yalld've", "yalld've")]
    [TestCase("somebody'd", "somebodyd")]
    [TestCase("dog's", "dog 's")]
    [TestCase("12:30", "12:30")]
    [TestCase("3.50", "3.50")]
    [TestCase("St. Mary", "st mary")]
    [TestCase("1,000", "1000")]
    [TestCase("coca-cola", "coca cola")]
    [TestCase("coca - cola", "coca cola")]
    [TestCase("coca-cola -", "cocacola")]
    [TestCase("line\nend\there", "line end here")]
    [TestCase("", "")]
    public void TextVqaNormalises(string text, string normal) => Assert.That(EvalAiText.Normalise(text), Is.EqualTo(normal));

    // The script's library replaces 32 full stops at most.
    [Test]
    public void TextVqaLeavesTheFullStopsAfterThe32nd() =>
        Assert.That(EvalAiText.Normalise(new string('.', 40)), Is.EqualTo(new string('.', 8)));

    [TestCase("Yes", "yes")]
    [TestCase("yes, it is", "yes")]
    [TestCase("No.", "no")]
    [TestCase("Not really", "no")]
    [TestCase("I think yes", "other")]
    [TestCase("", "other")]
    public void MmeReadsFourCharacters(string answer, string read) => Assert.That(Mme.Read(answer), Is.EqualTo(read));

    // count: picture 1 both right, picture 2 one of two: accuracy 3/4, accuracy+ 1/2, score 75 + 50 = 125.
    // color: one picture, both wrong: 0. code_reasoning: both right: 100 + 100. Perception 125 + 0, cognition 200.
    [Test]
    public void MmesSumsAreAsByHand()
    {
        PolicyScore score = Score(
            new Mme(), ("count", "1", "yes", "Yes"), ("count", "1", "no", "No"), ("count", "2", "yes", "yes"), ("count", "2", "no", "Yes"),
            ("color", "3", "yes", "no"), ("color", "3", "no", "perhaps"), ("code_reasoning", "4", "yes", "Yes."), ("code_reasoning", "4", "no", "no"));
        Dictionary<string, double> figures = new Mme().Figures(score).ToDictionary(figure => figure.Name, figure => figure.Value);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(figures["count score"], Is.EqualTo(125).Within(1e-9));
            Assert.That(figures["count accuracy+"], Is.EqualTo(0.5));
            Assert.That(figures["color score"], Is.Zero);
            Assert.That(figures["perception"], Is.EqualTo(125).Within(1e-9));
            Assert.That(figures["cognition"], Is.EqualTo(200).Within(1e-9));
        }
    }

    [TestCase("B", "B")]
    [TestCase("B. a bird", "B")]
    [TestCase("The answer is B.", "B")]
    [TestCase("The answer is A. Or: The answer is B.", null)]
    [TestCase("B.", null)]
    [TestCase("b", null)]
    [TestCase("(B)", null)]
    [TestCase("", null)]
    public void ScienceQaReadsALetter(string answer, string? letter)
    {
        Assert.That(ScienceQa.Letter(answer), Is.EqualTo(letter));
        Assert.That(new ScienceQa().Score(Question("x", "B"), answer), Is.EqualTo(letter is null ? 0 : 1));
    }

    [TestCase("C", "C")]
    [TestCase("(C)", "C")]
    [TestCase("C. a bird", "C")]
    [TestCase("The answer is C.", "C")]
    [TestCase("A bird is sitting on the wire", null)]
    [TestCase("A or C", null)]
    [TestCase("a cat", null)]
    public void MmBenchReadsALetter(string answer, string? letter) => Assert.That(MmBench.Letter(answer), Is.EqualTo(letter));

    // Question 5 in two turns, one wrong; question 6 in one, right: of turns 2/3, circular 1/2, of first turns 2/2.
    [Test]
    public void MmBenchIsCircular()
    {
        var benchmark = new MmBench();
        EvaluationQuestion[] questions = [new("5", "a", "q", "A", null), new("1000005", "b", "q", "B", null), new("6", "c", "q", "C", null)];
        var score = new PolicyScore("dense", questions, [Answer(benchmark, questions[0], "A"), Answer(benchmark, questions[1], "A"), Answer(benchmark, questions[2], "C")]);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(score.Accuracy, Is.EqualTo(2.0 / 3).Within(1e-12));
            Assert.That(benchmark.Figures(score).Select(figure => (figure.Name, figure.Value)), Is.EqualTo([("circular", 0.5), ("first turn", 1.0)]));
        }
    }

    private static EvaluationQuestion Question(string kind, string right) => new("1", "i", "q", right, kind);

    private static PolicyScore Score(Benchmark benchmark, params (string Kind, string Image, string Right, string Said)[] cases)
    {
        EvaluationQuestion[] questions = [.. cases.Select((one, i) => new EvaluationQuestion($"{i}", one.Image, "q", one.Right, one.Kind))];
        return new PolicyScore("dense", questions, [.. cases.Select((one, i) => Answer(benchmark, questions[i], one.Said))]);
    }

    private static EvaluationAnswer Answer(Benchmark benchmark, EvaluationQuestion question, string text) => new()
    {
        Text = text,
        Score = benchmark.Score(question, text),
        Agrees = true,
        Tokens = 1,
        Divergence = 0,
        TokensKept = 1,
        TokensLastLayer = 1,
        FlopsShare = 1,
        KvShare = 1,
        Vision = 1,
        Prefill = 1,
        DensePrefill = 1,
        Decode = 1,
        KvBytes = 1,
        PeakBytes = 1,
        FirstToken = 1,
        Total = 1,
    };
}
