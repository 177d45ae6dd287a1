using ParVts.Engine.Compute;
using ParVts.Engine.Compute.Cuda;
using ParVts.Engine.Generation;

namespace ParVts.Gpu.Tests;

/// <summary>kernels/sample.cu chooses, draw for draw, what Generation/Sampler.cs chooses.</summary>
internal sealed class SampleTests : KernelTest
{
    private const float None = float.NegativeInfinity;

    private ulong _logits;
    private ulong _seen;
    private ulong _state;
    private ulong _token;
    private ulong _output;
    private ulong _stops;
    private int _stopCount;
    private int _capacity;

    [TestCase(1f, 0, 1f, 0f, 1f)]
    [TestCase(0.7f, 40, 1f, 0f, 1f)]
    [TestCase(1.5f, 0, 0.9f, 0f, 1f)]
    [TestCase(1f, 0, 1f, 0.05f, 1f)]
    [TestCase(1.2f, 50, 0.8f, 0.02f, 1.3f)]
    [TestCase(2f, 1, 0.5f, 1f, 0.8f)]
    [TestCase(1e-3f, 7, 0.99f, 0f, 1.1f)]
    [TestCase(1e-45f, 0, 0.9f, 0f, 1f)]
    [TestCase(0f, 0, 1f, 0f, 1.2f)]
    public void Draw_for_draw_the_same(float temperature, int topK, float topP, float minP, float penalty)
    {
        var options = new GenerationOptions { Temperature = temperature, TopK = topK, TopP = topP, MinP = minP, RepetitionPenalty = penalty, Seed = 42 };
        foreach ((int vocabulary, int draws, bool ties) in ((int, int, bool)[])[(1, 3, false), (33, 40, true), (1000, 40, false), (2051, 30, true), (32003, 2, false)])
        {
            var random = new Random(vocabulary);
            var sampler = new Sampler(options, vocabulary);
            int[] prompt = [.. Enumerable.Range(0, Math.Min(20, vocabulary)).Select(_ => random.Next(vocabulary))];
            sampler.Observe(prompt);
            Begin(options, vocabulary, draws, prompt);
            var expected = new List<int>();
            for (int draw = 0; draw < draws; draw++)
            {
                float[] logits = Logits(random, vocabulary, ties);
                Write<float>(_logits, logits);
                Choose(options, vocabulary);
                expected.Add(sampler.Next(logits));
                Assert.That(Read<int>(_token, 1)[0], Is.EqualTo(Math.Max(expected[^1], 0)), $"draw {draw} of {vocabulary} tokens");
            }

            Assert.That(Read<int>(_output, draws), Is.EqualTo(expected));
            SampleState state = Read<SampleState>(_state, 1)[0];
            Assert.That((state.Produced, state.Stop, state.SawNaN != 0), Is.EqualTo((draws, 3, sampler.SawNaN)));
        }
    }

    // What decides hangs on ties, on infinities and on what is no number.
    [TestCase(new[] { 1f, 3f, 3f, -2f })]
    [TestCase(new[] { float.NaN, 1f, float.NaN, 1f })]
    [TestCase(new[] { float.NaN, float.NaN })]
    [TestCase(new[] { None, None, None })]
    [TestCase(new[] { None, float.NaN, None })]
    [TestCase(new[] { 0f, float.PositiveInfinity, 1f, float.PositiveInfinity })]
    [TestCase(new[] { -0f, 0f, -0f })]
    [TestCase(new[] { float.MaxValue, -float.MaxValue, float.MaxValue })]
    [TestCase(new[] { 0f, -29.99f, -30f, -31f })]
    public void Special_logits_are_chosen_as_on_the_cpu(float[] logits)
    {
        foreach (var options in (GenerationOptions[])[new(), new() { Temperature = 1 }, new() { Temperature = 2, TopK = 2, TopP = 0.6f }, new() { RepetitionPenalty = 2f }])
        {
            var sampler = new Sampler(options, logits.Length);
            Begin(options, logits.Length, 4, []);
            Write<float>(_logits, logits);
            var expected = new List<int>();
            for (int draw = 0; draw < 3; draw++)
            {
                Choose(options, logits.Length);
                expected.Add(sampler.Next([.. logits]));
                if (expected[^1] < 0)
                    break;
            }

            SampleState state = Read<SampleState>(_state, 1)[0];
            Assert.That(Read<int>(_output, state.Produced), Is.EqualTo(expected));
            Assert.That(state.Stop, Is.EqualTo(expected[^1] < 0 ? 2 : 0));
            Assert.That(state.SawNaN != 0, Is.EqualTo(sampler.SawNaN));
            Assert.That(Read<int>(_token, 1)[0], Is.GreaterThanOrEqualTo(0), "an id that can be looked up");
        }
    }

    [TestCase(0f)]
    [TestCase(1f)]
    public void An_end_of_sequence_id_stops_and_what_is_queued_beyond_it_changes_nothing(float temperature)
    {
        var options = new GenerationOptions { Temperature = temperature, RepetitionPenalty = 1.5f, Seed = 7 };
        float[] logits = [0f, 0f, 100f, 0f];
        Begin(options, logits.Length, 8, [], 1, 2);
        Write<float>(_logits, logits);
        Choose(options, logits.Length);
        SampleState after = Read<SampleState>(_state, 1)[0];
        Assert.That((after.Produced, after.Stop, Read<int>(_token, 1)[0]), Is.EqualTo((1, 1, 2)));
        uint[] seen = Read<uint>(_seen, 1);
        Assert.That(seen[0], Is.EqualTo(1u << 2));
        Write<float>(_logits, 100f, 0f, 0f, 0f);
        Choose(options, logits.Length);
        Assert.That(Read<SampleState>(_state, 1)[0], Is.EqualTo(after), "the generator stands still as well");
        Assert.That(Read<uint>(_seen, 1), Is.EqualTo(seen));
        Assert.That(Read<int>(_token, 1)[0], Is.EqualTo(2));
    }

    private void Begin(GenerationOptions options, int vocabulary, int capacity, int[] prompt, params int[] stops)
    {
        uint[] seen = new uint[(vocabulary + 31) / 32];
        foreach (int id in prompt)
            seen[id / 32] |= 1u << (id % 32);
        _seen = options.RepetitionPenalty == 1f ? 0 : Upload<uint>(seen);
        _logits = Empty<float>(vocabulary);
        _state = Upload(new SampleState { Generator = options.Seed });
        _token = Empty<int>(1);
        _output = Empty<int>(capacity);
        _stops = Upload<int>(stops.Length == 0 ? [-7] : stops);
        _stopCount = Math.Max(1, stops.Length);
        _capacity = capacity;
    }

    private void Choose(GenerationOptions options, int vocabulary)
    {
        if (options.Temperature == 0f)
        {
            Run("sample.cu", "sample_greedy", 1024, new SampleGreedyArguments
            {
                Logits = _logits,
                Vocabulary = vocabulary,
                Seen = _seen,
                Penalty = options.RepetitionPenalty,
                StopIds = _stops,
                StopCount = _stopCount,
                State = _state,
                Token = _token,
                Output = _output,
                Capacity = _capacity,
            });
            return;
        }

        Run("sample.cu", "sample", 1024, new SampleArguments
        {
            Logits = _logits,
            Vocabulary = vocabulary,
            Seen = _seen,
            Penalty = options.RepetitionPenalty,
            Inverse = SampleWeight.Inverse(options.Temperature),
            TopK = options.TopK,
            TopP = options.TopP < 1f ? SampleWeight.Share(options.TopP) : 0,
            Least = SampleWeight.Least(options.MinP),
            StopIds = _stops,
            StopCount = _stopCount,
            State = _state,
            Token = _token,
            Output = _output,
            Capacity = _capacity,
        });
    }

    // Few different values make ties; some are infinite or no numbers.
    private static float[] Logits(Random random, int vocabulary, bool ties)
    {
        float[] logits = new float[vocabulary];
        for (int id = 0; id < vocabulary; id++)
        {
            float logit = (random.NextSingle() + random.NextSingle() + random.NextSingle() - 1.5f) * 8;
            logits[id] = ties ? MathF.Round(logit) : logit;
            if (id > 0 && random.Next(50) == 0)
                logits[id] = random.Next(2) == 0 ? None : float.NaN;
        }

        return logits;
    }
}
