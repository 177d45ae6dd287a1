using System.Buffers.Binary;
using System.Text;
using ParVts.Engine.Formats;
using ParVts.Engine.Generation;
using ParVts.Engine.Tests.Formats;
using ParVts.Engine.Tests.Scheduling;

namespace ParVts.Engine.Tests.Generation;

/// <summary>A session's cache, saved and taken up elsewhere.</summary>
internal sealed class SavingTests
{
    // Dense, two paths, ragged, ragged and shrinking while decoding, compact with merged rows, frozen rows.
    private static readonly string[] s_policies =
    [
        "dense", "parvts:keep=k,migrate=K", "pyramiddrop:layers=0/K,keep=0.8/0.4", "st3:start=1,stride=1,keep=0.7,floor=2,anneal=0.6,every=2",
        "visionzip:dominant=k,contextual=2", "shortv:layers=0/K", "keep:layer=K,tokens=0/3-5",
    ];

    [Test]
    public void A_further_turn_goes_on_to_the_bit([ValueSource(nameof(s_policies))] string policy, [Values(0, 1, 2)] int images)
    {
        using var model = new TinyModel(31);
        string filled = PolicyCase.Fill(policy, model);
        Prompt prompt = model.Prompt(images);
        using Session whole = model.Engine.CreateSession(filled);
        Run first = model.Run(whole, prompt, 5);
        byte[] saved = TinyModel.Save(whole);

        // Another engine, as another process would have it.
        using VlmEngine other = VlmEngine.Open(model.Folder, new EngineOptions { Threads = 1 });
        using Session restored = other.CreateSession(filled);
        using var stream = new MemoryStream([.. saved, 1, 2, 3]);
        restored.Restore(stream);
        Assert.That(stream.Position, Is.EqualTo(saved.Length), "no byte behind it is read");
        Assert.That(restored.CachedTokens, Is.EqualTo(whole.CachedTokens));
        Assert.That(restored.KeyValueBytes, Is.EqualTo(whole.KeyValueBytes));
        Assert.That(TinyModel.Save(restored), Is.EqualTo(saved), "saved again, it is the same");

        int image = model.Engine.Config.ImageTokenId;
        foreach (Prompt second in new[]
        {
            model.Continue(prompt, [.. first.Result.Tokens.TakeWhile(token => token != image), 5, 9, 3]),
            model.Continue(prompt, [4, 8]),
        })
        {
            Run expected = model.Run(whole, second, 4);
            Run actual = model.Run(restored, second, 4);
            Assert.That(actual.Logits, Is.EqualTo(expected.Logits));
            Assert.That(actual.Result.CachedTokens, Is.EqualTo(expected.Result.CachedTokens));
            Assert.That(actual.Result.Trace.KvRowsByLayer, Is.EqualTo(expected.Result.Trace.KvRowsByLayer));
        }

        // And a second save behind a second turn.
        Assert.That(TinyModel.Save(restored), Is.EqualTo(TinyModel.Save(whole)));
    }

    [Test]
    public void It_is_a_safetensors_file_that_says_what_it_is()
    {
        using var model = new TinyModel(32);
        using Session session = model.Engine.CreateSession("vtw:layer=1");
        Prompt prompt = model.Prompt();
        session.Generate(prompt, new GenerationOptions { MaxTokens = 3, IgnoreEndOfSequence = true });
        using var folder = new TempFolder();
        File.WriteAllBytes(folder.File("s.safetensors"), TinyModel.Save(session));
        using var file = SafetensorsFile.Open(folder.File("s.safetensors"));
        Assert.That(file.Metadata["format"], Is.EqualTo("parvts-session"));
        Assert.That(file.Metadata["policy"], Is.EqualTo("vtw:layer=1"));
        Assert.That(file.Metadata["kv_type"], Is.EqualTo("F32"));
        Assert.That(file.Tensors["ids"].Shape, Is.EqualTo((long[])[prompt.Length + 2]));
        Assert.That(file.Tensors.Keys.Count(name => name.StartsWith("kv.", StringComparison.Ordinal)), Is.EqualTo(model.Layers));
    }

    [Test]
    public void An_empty_session_is_saved_and_restored()
    {
        using var model = new TinyModel(33);
        using Session session = model.Engine.CreateSession();
        byte[] saved = TinyModel.Save(session);
        Prompt prompt = model.Prompt();
        Run expected = model.Run(session, prompt, 2);
        session.Restore(new MemoryStream(saved));
        Assert.That(session.CachedTokens, Is.Zero);
        Assert.That(model.Run(session, prompt, 2).Logits, Is.EqualTo(expected.Logits));
    }

    [Test]
    public void A_prefill_that_was_cancelled_is_saved_as_what_is_left_of_it()
    {
        using var model = new TinyModel(34);
        using Session session = model.Engine.CreateSession();
        using var stop = new CancellationTokenSource();
        session.Progress = progress =>
        {
            if (progress is { Phase: "prefill", Done: 1 })
                stop.Cancel();
        };
        Prompt prompt = model.Prompt(images: 2);
        session.Generate(prompt, null, null, stop.Token);
        session.Progress = null;
        byte[] saved = TinyModel.Save(session);
        Run expected = model.Run(session, prompt, 2);
        using Session restored = model.Engine.CreateSession();
        restored.Restore(new MemoryStream(saved));
        Assert.That(model.Run(restored, prompt, 2).Logits, Is.EqualTo(expected.Logits));
    }

    [Test]
    public void What_is_of_another_model_policy_or_type_is_refused_and_leaves_an_empty_session()
    {
        using var model = new TinyModel(35, layers: 3);
        using var other = new TinyModel(36, layers: 3);
        using Session session = model.Engine.CreateSession("grid:keep=4");
        model.Run(session, model.Prompt(), 2);
        byte[] saved = TinyModel.Save(session);
        Assert.Multiple(() =>
        {
            Refused(model, "grid:keep=5", saved, SavedSessionProblem.Policy, "the policy 'grid:keep=4'; this one has 'grid:keep=5'");
            Refused(other, "grid:keep=4", saved, SavedSessionProblem.Model, "of another model");
            Refused(model, "grid:keep=4", Replace(saved, "\"kv_type\":\"F32\"", "\"kv_type\":\"F16\""), SavedSessionProblem.KeyValueType, "'F16'; this device keeps F32");
            Refused(model, "grid:keep=4", Replace(saved, "\"version\":\"1\"", "\"version\":\"2\""), SavedSessionProblem.Version, "version '2' of the format; version 1 is read");
            Refused(model, "grid:keep=4", Replace(saved, "parvts-session", "another-thing!"), SavedSessionProblem.Damaged, "'another-thing!'");
            Refused(model, "grid:keep=4", [], SavedSessionProblem.Damaged, "is 0 bytes long");
        });
    }

    [Test]
    public void Weights_that_differ_are_another_model()
    {
        using var model = new TinyModel(37);
        using Session session = model.Engine.CreateSession();
        model.Run(session, model.Prompt(), 2);
        byte[] saved = TinyModel.Save(session);
        using var folder = new TempFolder();
        foreach (string file in Directory.GetFiles(model.Folder))
            File.Copy(file, folder.File(Path.GetFileName(file)));
        string weights = folder.File("model.safetensors");
        byte[] bytes = File.ReadAllBytes(weights);
        bytes[^1] ^= 1;
        File.WriteAllBytes(weights, bytes);
        using VlmEngine changed = VlmEngine.Open(folder.Path);
        using Session refusing = changed.CreateSession();
        Assert.That(
            () => refusing.Restore(new MemoryStream(saved)),
            Throws.TypeOf<SavedSessionException>().With.Property(nameof(SavedSessionException.Problem)).EqualTo(SavedSessionProblem.Model));
    }

    [TestCase("")]
    [TestCase("config.json")]
    public void Random_weights_are_known_by_their_seed(string file)
    {
        using var model = new TinyModel(44);
        string config = Path.Combine(model.Folder, file);
        byte[] saved;
        using (VlmEngine engine = VlmEngine.OpenRandom(config, seed: 1))
        using (Session session = engine.CreateSession())
            saved = TinyModel.Save(session);
        foreach (int seed in new[] { 1, 2 })
        {
            using VlmEngine engine = VlmEngine.OpenRandom(config, seed);
            using Session session = engine.CreateSession();
            Assert.That(() => session.Restore(new MemoryStream(saved)), seed == 1 ? Throws.Nothing : Throws.TypeOf<SavedSessionException>());
        }
    }

    [Test]
    public void A_cap_below_its_keys_and_values_is_refused_with_numbers()
    {
        using var model = new TinyModel(38);
        using Session session = model.Engine.CreateSession();
        model.Run(session, model.Prompt(), 2);
        byte[] saved = TinyModel.Save(session);
        using VlmEngine capped = VlmEngine.Open(model.Folder, new EngineOptions { MemoryCap = 1 << 20 });
        using Session refusing = capped.CreateSession();
        Assert.That(() => refusing.Restore(new MemoryStream(saved)), Throws.TypeOf<InsufficientMemoryException>().With.Message.Contain("cap is 1.0 MiB"));
        Assert.That(refusing.CachedTokens, Is.Zero);
    }

    [Test]
    public void Cut_anywhere_it_is_damaged()
    {
        using var model = new TinyModel(39, layers: 2);
        using Session session = model.Engine.CreateSession("fastv:layer=1,keep=3");
        Prompt prompt = model.Prompt();
        Run run = model.Run(session, prompt, 2);
        byte[] saved = TinyModel.Save(session);
        int header = 8 + (int)BinaryPrimitives.ReadInt64LittleEndian(saved);
        using Session restored = model.Engine.CreateSession("fastv:layer=1,keep=3");
        int[] lengths = [.. Enumerable.Range(0, header + 600).Concat(Enumerable.Range(0, 40).Select(i => header + (saved.Length - header) * i / 40)).Where(length => length < saved.Length), saved.Length - 1];
        foreach (int length in lengths)
        {
            SavedSessionException? error = Assert.Throws<SavedSessionException>(() => restored.Restore(new Trickle(saved.AsMemory(0, length))));
            Assert.That(error!.Problem, Is.EqualTo(SavedSessionProblem.Damaged), $"cut to {length}");
            Assert.That(restored.CachedTokens, Is.Zero);
        }

        Assert.That(model.Run(restored, prompt, 2).Logits, Is.EqualTo(run.Logits), "and it can be used");
    }

    [Test]
    public void Damaged_headers_and_numbers_are_typed_errors()
    {
        using var model = new TinyModel(40, layers: 2);
        using Session session = model.Engine.CreateSession("fastv:layer=1,keep=3");
        Prompt prompt = model.Prompt();
        Run run = model.Run(session, prompt, 2);
        byte[] saved = TinyModel.Save(session);
        int numbers = 8 + (int)BinaryPrimitives.ReadInt64LittleEndian(saved) + 8 * (session.CachedTokens + 4 + 8);
        using Session restored = model.Engine.CreateSession("fastv:layer=1,keep=3");
        var random = new Random(1);
        int refused = 0;
        int rounds = TestData.Full ? 20_000 : 3_000;
        for (int round = 0; round < rounds; round++)
        {
            byte[] damaged = [.. saved];
            for (int change = random.Next(1, 4); change > 0; change--)
                damaged[random.Next(numbers)] = (byte)(random.Next(2) == 0 ? random.Next(256) : "0123456789[]{},:\""[random.Next(17)]);
            try
            {
                restored.Restore(new MemoryStream(damaged));

                // What is taken up can be used, whatever the answer.
                if (round % 50 == 0)
                    model.Run(restored, prompt, 2);
            }
            catch (SavedSessionException)
            {
                refused++;
                Assert.That(restored.CachedTokens, Is.Zero);
            }
        }

        Assert.That(refused, Is.GreaterThan(rounds / 2));
        restored.Reset();
        Assert.That(model.Run(restored, prompt, 2).Logits, Is.EqualTo(run.Logits));
    }

    [TestCase(0, 999, "holds the token 999; the vocabulary has 97")]
    [TestCase(0, -1, "holds the token -1")]
    [TestCase(1, 3, "turns that do not follow each other")]
    [TestCase(2, 1 << 20, "turns that do not follow each other")]
    [TestCase(3, 1 << 20, "turns that do not follow each other")]
    [TestCase(4, 2, "turns that do not follow each other")]
    [TestCase(5, 1, "turns that do not follow each other")]
    [TestCase(7, 100, "of 100 rows, [2, 2,")]
    public void Wrong_numbers_are_named(int place, long value, string message)
    {
        // After the ids and the one picture's hash: [start, whole, end, thinned, before (2), after (2)].
        using var model = new TinyModel(41, layers: 2, grid: 7);
        using Session session = model.Engine.CreateSession("vtw:layer=1");
        model.Run(session, model.Prompt(), 1);
        byte[] saved = TinyModel.Save(session);
        int data = 8 + (int)BinaryPrimitives.ReadInt64LittleEndian(saved);
        int at = place == 0 ? data : data + 8 * (session.CachedTokens + 4 + place - 1);
        BinaryPrimitives.WriteInt64LittleEndian(saved.AsSpan(at), value);
        Refused(model, "vtw:layer=1", saved, SavedSessionProblem.Damaged, message);
    }

    [Test]
    public void A_huge_claim_allocates_nothing()
    {
        using var model = new TinyModel(42);
        using Session session = model.Engine.CreateSession();
        byte[] claim = new byte[64];
        BinaryPrimitives.WriteInt64LittleEndian(claim, 16 << 20);
        long before = GC.GetAllocatedBytesForCurrentThread();
        Assert.That(() => session.Restore(new MemoryStream(claim)), Throws.TypeOf<SavedSessionException>().With.Message.Contain("cut short"));
        BinaryPrimitives.WriteInt64LittleEndian(claim, long.MaxValue);
        Assert.That(() => session.Restore(new MemoryStream(claim)), Throws.TypeOf<SavedSessionException>().With.Message.Contain("claims a header of"));
        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.LessThan(1 << 20));
    }

    [Test]
    public void A_stream_that_fails_leaves_an_empty_session()
    {
        using var model = new TinyModel(43);
        using Session session = model.Engine.CreateSession();
        Prompt prompt = model.Prompt();
        Run run = model.Run(session, prompt, 2);
        byte[] saved = TinyModel.Save(session);
        Assert.That(() => session.Restore(new Trickle(saved.AsMemory(0, saved.Length - 100)) { Fails = true }), Throws.InstanceOf<IOException>());
        Assert.That(session.CachedTokens, Is.Zero);
        Assert.That(model.Run(session, prompt, 2).Logits, Is.EqualTo(run.Logits));
        session.Dispose();
        Assert.That(() => session.Save(new MemoryStream()), Throws.InstanceOf<ObjectDisposedException>());
    }

    private static void Refused(TinyModel model, string policy, byte[] saved, SavedSessionProblem problem, string message)
    {
        using Session session = model.Engine.CreateSession(policy);
        Prompt prompt = model.Prompt();
        Run expected = model.Run(session, prompt, 2);
        SavedSessionException? error = Assert.Throws<SavedSessionException>(() => session.Restore(new MemoryStream(saved)));
        Assert.That(error!.Problem, Is.EqualTo(problem), error.Message);
        Assert.That(error.Message, Does.StartWith("the saved session ").And.Contain(message));
        Assert.That(session.CachedTokens, Is.Zero);
        Assert.That(session.KeyValueBytes, Is.Zero);
        Assert.That(model.Run(session, prompt, 2).Logits, Is.EqualTo(expected.Logits), "and it can be used");
    }

    private static byte[] Replace(byte[] saved, string text, string other)
    {
        byte[] changed = [.. saved];
        int place = changed.AsSpan().IndexOf(Encoding.UTF8.GetBytes(text));
        Assert.That(place, Is.Positive, text);
        Encoding.UTF8.GetBytes(other).CopyTo(changed, place);
        return changed;
    }

    /// <summary>A stream that cannot seek and gives a few bytes at a time, as a network's does.</summary>
    private sealed class Trickle(ReadOnlyMemory<byte> bytes) : Stream
    {
        private int _place;

        public bool Fails { get; init; }

        public override bool CanRead => true;

        public override bool CanSeek => false;

        public override bool CanWrite => false;

        public override long Length => throw new NotSupportedException();

        public override long Position
        {
            get => throw new NotSupportedException();
            set => throw new NotSupportedException();
        }

        public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));

        public override int Read(Span<byte> buffer)
        {
            int count = Math.Min(Math.Min(buffer.Length, 997), bytes.Length - _place);
            if (count == 0 && Fails)
                throw new IOException("the line is down");
            bytes.Span.Slice(_place, count).CopyTo(buffer);
            _place += count;
            return count;
        }

        public override void Flush()
        {
        }

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();

        public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
    }
}
