using ParVts.Engine.Compute;
using ParVts.Engine.Compute.Cpu;

namespace ParVts.Engine.Tests.Compute;

/// <summary>The paged, ragged KV store: pages come and go, rows stay.</summary>
public sealed unsafe class KvStoreTests : IDisposable
{
    private readonly CpuDevice _device = new(1);

    [OneTimeTearDown]
    public void Dispose() => _device.Dispose();

    [Test]
    public void Layers_are_ragged_and_freed_pages_serve_other_layers()
    {
        using var kv = new KvStore(_device, 2, 1, 16);
        kv.Reserve(KvNeeds.Uniform(kv.Layers, 128));
        long reserved = kv.ReservedBytes;
        kv.Extend(0, 128);
        kv.Extend(1, 70);
        Assert.That(kv.UsedBytes, Is.EqualTo(4 * kv.PageBytes));
        nint freed = (nint)kv.Layer(0).Keys(1, 0);
        kv.Truncate(0, 64);
        Assert.That(kv.UsedBytes, Is.EqualTo(3 * kv.PageBytes));
        kv.Truncate(1, 10);
        kv.Extend(1, 65);
        kv.Extend(0, 65);
        Assert.That(new[] { (nint)kv.Layer(0).Keys(1, 0), (nint)kv.Layer(1).Keys(1, 0) }, Does.Contain(freed));
        Assert.That(kv.Length(0), Is.EqualTo(65));
        Assert.That(kv.ReservedBytes, Is.EqualTo(reserved));
    }

    [Test]
    public void Reserving_more_keeps_the_rows()
    {
        using var kv = new KvStore(_device, 3, 2, 32);
        kv.Reserve(KvNeeds.Uniform(kv.Layers, 64));
        kv.Extend(2, 64);
        kv.Layer(2).Values(0, 1)[63 * 32 + 5] = 42f;
        kv.Reserve(KvNeeds.Uniform(kv.Layers, 1000));
        kv.Extend(2, 1000);
        kv.Layer(2).Values(15, 1)[3] = 7f;
        Assert.That(kv.Layer(2).Values(0, 1)[63 * 32 + 5], Is.EqualTo(42f));
        Assert.That(kv.Length(2), Is.EqualTo(1000));
        Assert.That(kv.Length(0), Is.Zero);
    }

    [Test]
    public void Rows_that_were_not_reserved_are_refused_and_disposing_twice_is_safe()
    {
        var kv = new KvStore(_device, 1, 1, 16);
        kv.Reserve(KvNeeds.Uniform(kv.Layers, 64));
        Assert.That(() => kv.Extend(0, 65), Throws.InvalidOperationException);
        kv.Dispose();
        kv.Dispose();
    }

    [Test]
    public void The_plan_is_what_is_allocated([Values(1, 64, 65, 700)] int rows)
    {
        using var kv = new KvStore(_device, 5, 3, 72);
        kv.Reserve(KvNeeds.Uniform(kv.Layers, rows));
        Assert.That(kv.ReservedBytes, Is.EqualTo(KvStore.BytesFor(5, 3, 72, KvNeeds.Uniform(5, rows))));
    }
}
