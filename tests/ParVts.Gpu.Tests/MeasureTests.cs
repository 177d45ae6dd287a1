using ParVts.Cuda;
using ParVts.Engine.Compute;
using ParVts.Engine.Formats;
using ParVts.Engine.Tests.Compute;

namespace ParVts.Gpu.Tests;

/// <summary>Numbers about rows, for policies, and how they are read while other work runs (contract P2).</summary>
internal sealed class MeasureTests : DeviceTest
{
    [Test]
    public void Similarities_are_products_and_cosines([Range(1, 8)] int seed, [Values] bool cosine)
    {
        var random = new Random(seed);
        (int n, int m, int columns) = seed switch
        {
            1 => (1, 1, 1),
            2 => (8, 150, 515),
            3 => (65, 64, 128),
            4 => (3, 2, 4096),
            _ => (random.Next(1, 140), random.Next(1, 140), random.Next(1, 100)),
        };
        TestMatrix x = Random(random, TensorType.F32, n, columns, Math.Pow(10, random.Next(-3, 3)));
        TestMatrix y = Random(random, TensorType.F32, m, columns);
        Clear(x, n / 2);
        Clear(y, m - 1);
        float[] actual = Compare(
            $"Similarity {seed}", TensorType.F32, n, m, (device, at, output) => device.Similarity(at(x), at(y), cosine, output), room: seed % 3);
        Assert.That(Enumerable.Range(0, n).Select(i => actual[i * m + m - 1]), Is.All.Zero, "nothing is like a row of zeros");
        Assert.That(actual[(n / 2 * m)..((n / 2 + 1) * m)], Is.All.Zero, "a row of zeros is like nothing");
    }

    [Test]
    public void A_pairs_similarity_depends_on_its_two_rows_alone([Values] bool cosine)
    {
        var random = new Random(3);
        TestMatrix x = Random(random, TensorType.F32, 150, 70);
        float[] all = Similarity(At(x), At(x), cosine);
        foreach ((int first, int count) in ((int, int)[])[(0, 1), (63, 2), (100, 50)])
        {
            float[] some = Similarity(At(x).Slice(first, count), At(x).Slice(140, 10), cosine);
            for (int i = 0; i < count; i++)
                Assert.That(some[(10 * i)..(10 * i + 10)], Is.EqualTo(all[((first + i) * 150 + 140)..((first + i + 1) * 150)]), $"row {first + i}");
        }

        for (int i = 0; i < 150; i++)
        {
            for (int j = 0; j < i; j++)
                Assert.That(all[i * 150 + j], Is.EqualTo(all[j * 150 + i]), $"{i} and {j}, {j} and {i}");
        }
    }

    [Test]
    public void Heads_are_averaged([Range(1, 6)] int seed)
    {
        var random = new Random(seed);
        int rows = random.Next(1, 70);
        int heads = seed == 1 ? 1 : random.Next(2, 33);
        int width = seed == 2 ? 128 : random.Next(1, 90);
        TestMatrix x = Random(random, TensorType.F32, rows, heads * width);
        Compare($"MeanHeads {seed}", TensorType.F32, rows, width, (device, at, output) => device.MeanHeads(at(x), output), room: seed % 2);
    }

    [Test]
    public void Sizes_of_rows([Range(1, 6)] int seed)
    {
        var random = new Random(seed);
        int rows = random.Next(1, 30);
        int columns = seed == 1 ? 4096 : random.Next(1, 1200);
        TestMatrix x = Random(random, TensorType.F32, rows, columns, Math.Pow(10, random.Next(-3, 3)));
        Compare($"AbsoluteSums {seed}", TensorType.F32, 1, rows, (device, at, output) => device.AbsoluteSums(at(x), output));
    }

    [Test]
    public void Keys_are_read_as_they_are_stored(
        [Values(16, 32, 64, 72, 80, 128)] int headDim, [Values(TensorType.BF16, TensorType.F16)] TensorType type, [Values(1, 3)] int kvHeads)
    {
        var random = new Random(headDim + kvHeads);
        using TestCache cache = TestCache.Random(Gpu, random, type, 150, kvHeads, headDim);
        foreach ((int first, int count) in ((int, int)[])[(0, 150), (63, 2), (149, 1)])
        {
            float[] actual = Compare(
                $"ReadKeys {first}", TensorType.F32, count, kvHeads * headDim,
                (device, _, output) => device.ReadKeys(cache.On(device), first, output), room: 3);

            // Widened bits are exact.
            using var expected = new TestMatrix(TensorType.F32, count, kvHeads * headDim);
            using var truth = new NaiveDevice();
            truth.ReadKeys(cache.Host, first, expected.Tensor);
            Assert.That(actual, Is.EqualTo(expected.Floats()));
        }
    }

    [Test]
    public void What_does_not_fit_is_refused()
    {
        using TestCache cache = TestCache.Random(Gpu, new Random(1), TensorType.BF16, 10, 2, 32);
        Tensor x = At(Random(new Random(1), TensorType.F32, 3, 8));
        Tensor narrow = At(Random(new Random(1), TensorType.BF16, 3, 8));
        Assert.Multiple(() =>
        {
            Assert.That(() => Gpu.Device.Similarity(x, x, true, Empty(TensorType.F32, 3, 2)), Throws.ArgumentException);
            Assert.That(() => Gpu.Device.Similarity(x, x with { Columns = 7 }, true, Empty(TensorType.F32, 3, 3)), Throws.ArgumentException);
            Assert.That(() => Gpu.Device.Similarity(x, narrow, true, Empty(TensorType.F32, 3, 3)), Throws.ArgumentException);
            Assert.That(() => Gpu.Device.MeanHeads(x, Empty(TensorType.F32, 3, 3)), Throws.ArgumentException);
            Assert.That(() => Gpu.Device.MeanHeads(narrow, Empty(TensorType.F32, 3, 4)), Throws.ArgumentException);
            Assert.That(() => Gpu.Device.AbsoluteSums(x, Empty(TensorType.F32, 1, 2)), Throws.ArgumentException);
            Assert.That(() => Gpu.Device.AbsoluteSums(narrow, Empty(TensorType.F32, 1, 3)), Throws.ArgumentException);
            Assert.That(() => Gpu.Device.ReadKeys(cache.Store.Layer(0), 0, Empty(TensorType.F32, 3, 32)), Throws.ArgumentException);
            Assert.That(() => Gpu.Device.ReadKeys(cache.Store.Layer(0), 8, Empty(TensorType.F32, 3, 64)), Throws.ArgumentException);
            Assert.That(() => Gpu.Device.ReadKeys(cache.Store.Layer(0), 0, Empty(TensorType.BF16, 3, 64)), Throws.ArgumentException);
        });
    }

    [Test]
    public void A_readback_is_of_the_moment_when_it_was_begun()
    {
        Tensor source = Empty(TensorType.F32, 1, 100);
        using Readback readback = Gpu.Device.CreateReadback(400);
        float[] first = Fill(source, 1), second = Fill(source, 2);
        Gpu.Device.Upload<float>(first, source);
        readback.Begin(source);
        Gpu.Device.Upload<float>(second, source);
        Assert.That(Finish(readback, 100), Is.EqualTo(first));

        // Used again, and for fewer; the copy that was begun last counts.
        readback.Begin(source);
        Gpu.Device.Upload<float>(first, source);
        readback.Begin(source with { Columns = 7, Stride = 7 });
        Assert.That(Finish(readback, 7), Is.EqualTo(first[..7]));
        Assert.That(() => readback.Begin(Empty(TensorType.F32, 1, 101)), Throws.ArgumentException);
        Assert.That(() => readback.Begin(Empty(TensorType.F32, 4, 4) with { Columns = 3 }), Throws.ArgumentException);
    }

    [Test]
    public void A_readback_waits_for_its_copy_and_nothing_behind_it()
    {
        if (Gpu.Sim is null)
            Assert.Ignore("a real GPU does not say what it has done");
        Tensor source = At(Random(new Random(1), TensorType.F32, 1, 100));
        Tensor behind = Empty(TensorType.F32, 1, 100);
        using Readback readback = Gpu.Device.CreateReadback(400);
        readback.Begin(source);
        Gpu.Device.Activate(source, Activation.Silu, behind);
        Gpu.Sim!.ResetCounters();
        _ = Finish(readback, 100);
        Assert.That(Gpu.Sim.Counters.Kernels, Is.Empty, "what is queued behind has not run");
        Assert.That(Gpu.Sim.Counters.Waits.Keys, Is.EqualTo(["cuEventSynchronize"]));
        _ = Read(behind);
    }

    [Test]
    public void A_readback_that_is_disposed_while_its_copy_is_under_way_lets_it_end()
    {
        Tensor source = At(Random(new Random(1), TensorType.F32, 1, 100));
        Readback readback = Gpu.Device.CreateReadback(400);
        readback.Begin(source);
        long before = Gpu.Sim?.CallsByName.GetValueOrDefault("cuStreamSynchronize") ?? 0;
        readback.Dispose();
        readback.Dispose();
        if (Gpu.Sim is not null)
            Assert.That(Gpu.Sim.CallsByName["cuStreamSynchronize"] - before, Is.EqualTo(1), "pinned memory is let go when nobody writes there");

        // What is not under way is not waited for.
        Readback done = Gpu.Device.CreateReadback(400);
        done.Begin(source);
        _ = Finish(done, 100);
        before = Gpu.Sim?.CallsByName.GetValueOrDefault("cuStreamSynchronize") ?? 0;
        done.Dispose();
        Gpu.Device.CreateReadback(4).Dispose();
        if (Gpu.Sim is not null)
            Assert.That(Gpu.Sim.CallsByName["cuStreamSynchronize"] - before, Is.Zero);
    }

    [Test]
    public void A_readback_whose_calls_fail_leaves_nothing_behind(
        [Values("cuMemHostAlloc", "cuEventCreate", "cuMemcpyDtoHAsync_v2", "cuEventRecord", "cuEventSynchronize", "cuMemFreeHost", "cuEventDestroy_v2")] string call,
        [Values(1, 999)] int code)
    {
        if (Gpu.Sim is null)
            Assert.Ignore("a real GPU's calls cannot be made to fail");

        // Closing it says what is left.
        using TestGpu gpu = TestGpu.Open();
        using DeviceBuffer buffer = gpu.Device.Allocate(400);
        Tensor source = buffer.View(TensorType.F32, 1, 100);
        float[] values = Fill(source, 1);
        gpu.Device.Upload<float>(values, source);
        gpu.Sim!.FailCall(1, code, call);
        CudaException? error = null;
        try
        {
            using Readback failing = gpu.Device.CreateReadback(400);
            failing.Begin(source);
            _ = Finish(failing, 100);
        }
        catch (CudaException thrown)
        {
            error = thrown;
        }

        gpu.Sim.FailNothing();
        bool isToldOf = call is not ("cuMemFreeHost" or "cuEventDestroy_v2");
        Assert.That(error?.Code, isToldOf ? Is.EqualTo(code) : Is.Null);
        using Readback next = gpu.Device.CreateReadback(400);
        next.Begin(source);
        Assert.That(Finish(next, 100), Is.EqualTo(values));
    }

    private float[] Similarity(in Tensor x, in Tensor y, bool cosine)
    {
        Tensor output = Empty(TensorType.F32, x.Rows, y.Rows);
        Gpu.Device.Similarity(x, y, cosine, output);
        return Read(output);
    }

    private static float[] Finish(Readback readback, int count)
    {
        float[] values = new float[count];
        readback.Finish<float>(values);
        return values;
    }

    private static float[] Fill(in Tensor like, float value) => [.. Enumerable.Range(0, like.Columns).Select(i => value + i / 128f)];

    private static unsafe void Clear(TestMatrix matrix, int row) =>
        new Span<float>((float*)matrix.Tensor.Address + row * matrix.Tensor.Columns, matrix.Tensor.Columns).Clear();
}
