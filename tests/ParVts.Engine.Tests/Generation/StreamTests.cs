using ParVts.Engine.Generation;

namespace ParVts.Engine.Tests.Generation;

/// <summary>Answers for <c>await foreach</c>: the same as pushed ones, and a session that is free again however they end.</summary>
public class StreamTests
{
    // Far more pieces than may lie between computation and reader.
    private static readonly GenerationOptions s_long = new() { MaxTokens = 400, IgnoreEndOfSequence = true, Temperature = 20f, Seed = 3 };

    private static Prompt Question { get; } = DemoModel.Ask("what color is the circle?", DemoModel.Picture(0));

    [Test]
    public async Task The_pieces_are_those_that_are_pushed_and_the_result_is_the_same()
    {
        using Session session = DemoModel.Engine.CreateSession();
        List<string> pushed = [];
        GenerationResult expected = session.Generate(Question, s_long, piece => pushed.Add(new string(piece)));
        session.Reset();

        AnswerStream answer = session.StreamAsync(Question, s_long);
        List<string> pulled = [];
        await foreach (string piece in answer)
            pulled.Add(piece);

        Assert.That(pulled, Is.EqualTo(pushed).And.Count.GreaterThan(100));
        Assert.That(answer.Result.Tokens, Is.EqualTo(expected.Tokens));
        Assert.That(answer.Result.Finish, Is.EqualTo(FinishReason.Length));
    }

    [Test]
    public Task Who_leaves_early_leaves_a_free_session() => InTime(async () =>
    {
        using Session session = DemoModel.Engine.CreateSession();
        AnswerStream answer = session.StreamAsync(Question, s_long);
        await foreach (string piece in answer)
            break;

        Assert.That(answer.Result.Finish, Is.EqualTo(FinishReason.Cancelled));
        Assert.That(answer.Result.Tokens, Has.Count.LessThan(100), "the work waits for who pulls, and ends with them");
        Assert.That(session.Generate(Question).Text, Is.Not.Empty);
    });

    [TestCase(false)]
    [TestCase(true)]
    public Task Either_token_ends_it_without_an_exception(bool ofTheEnumeration) => InTime(async () =>
    {
        using Session session = DemoModel.Engine.CreateSession();
        using var stop = new CancellationTokenSource();
        AnswerStream answer = session.StreamAsync(Question, s_long, ofTheEnumeration ? default : stop.Token);
        int pieces = 0;
        await foreach (string piece in answer.WithCancellation(ofTheEnumeration ? stop.Token : default))
        {
            if (++pieces == 3)
                await stop.CancelAsync();
        }

        Assert.That(pieces, Is.InRange(3, 60));
        Assert.That(answer.Result.Finish, Is.EqualTo(FinishReason.Cancelled));
    });

    // The computation waits for room: that must not hold back what ends it.
    [TestCase(true)]
    [TestCase(false)]
    public Task Deadline_and_disposal_do_not_depend_on_who_pulls(bool deadline) => InTime(async () =>
    {
        Session session = DemoModel.Engine.CreateSession();
        GenerationOptions options = deadline ? s_long with { Deadline = TimeSpan.FromSeconds(1) } : s_long;
        AnswerStream answer = session.StreamAsync(Question, options);
        int steps = 0;
        session.OnStep = _ => Interlocked.Increment(ref steps);
        await using IAsyncEnumerator<string> pieces = answer.GetAsyncEnumerator();
        Assert.That(await pieces.MoveNextAsync(), Is.True);
        if (!deadline)
        {
            // Until it waits for room. Disposal itself waits for the call under way.
            int seen;
            do
            {
                seen = Volatile.Read(ref steps);
                await Task.Delay(200);
            }
            while (seen < 10 || Volatile.Read(ref steps) != seen);
            await Task.Run(session.Dispose);
        }

        Assert.That(() => answer.Result.Finish, Is.EqualTo(FinishReason.Cancelled).After(20_000, 10));
        session.Dispose();
    });

    [Test]
    public void Errors_come_where_the_next_piece_is_awaited()
    {
        using Session session = DemoModel.Engine.CreateSession();
        AnswerStream answer = session.StreamAsync(Question, new GenerationOptions { MaxTokens = -1 });
        Assert.That(async () => await Drain(answer), Throws.InstanceOf<RequestException>());
        Assert.That(() => answer.Result, Throws.InstanceOf<InvalidOperationException>());
    }

    [Test]
    public async Task An_answer_is_enumerated_once()
    {
        using Session session = DemoModel.Engine.CreateSession();
        AnswerStream answer = session.StreamAsync(Question);
        Assert.That(() => answer.Result, Throws.InstanceOf<InvalidOperationException>(), "nothing has begun");
        await Drain(answer);
        Assert.That(async () => await Drain(answer), Throws.InstanceOf<InvalidOperationException>());
        Assert.That(answer.Result.Text, Is.Not.Empty);
    }

    // What is broken here waits for ever.
    private static Task InTime(Func<Task> test) => test().WaitAsync(TimeSpan.FromSeconds(60));

    private static async Task Drain(AnswerStream answer)
    {
        await foreach (string piece in answer)
            Assert.That(piece, Is.Not.Empty);
    }
}
