using ParVts.Cuda.Native;

namespace ParVts.Cuda.Tests;

/// <summary>Ranges for profilers: heard by both kinds of tool, free of charge where there is none.</summary>
[NonParallelizable]
public class NvtxTests
{
    [TestCase(false)]
    [TestCase(true)]
    public void A_profiler_hears_names_and_numbers(bool injected)
    {
        FakeNvtx.Reset();
        NvtxApi api = injected ? NvtxApi.Inject(FakeNvtx.Find) : new NvtxApi(new FunctionSource("NVTX", "", FakeNvtx.Find));
        Assert.That(api.IsActive);
        var domain = new NvtxDomain(api, "ParVts");
        NvtxName prefill = domain.Register("prefill");
        NvtxName layer = domain.Register("layer ⅲ");
        using (domain.Begin(prefill, 640))
        {
            using (domain.Begin(layer, -3))
            {
            }
        }

        Assert.That(FakeNvtx.Heard, Is.EqualTo((string[])["ParVts: prefill, 640; v2 48 2 3", "ParVts: layer ⅲ, -3; v2 48 2 3", "end", "end"]));
        FakeNvtx.Listening = false;
        int before = FakeNvtx.Pushes;
        long bytes = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 1000; i++)
        {
            using (domain.Begin(prefill, i))
            {
            }
        }

        Assert.That(GC.GetAllocatedBytesForCurrentThread() - bytes, Is.Zero);
        Assert.That(FakeNvtx.Pushes - before, Is.EqualTo(1000));
    }

    [TestCase("nvtxDomainCreateA")]
    [TestCase("nvtxDomainRegisterStringA")]
    [TestCase("nvtxDomainRangePushEx")]
    [TestCase("nvtxDomainRangePop")]
    public void A_library_that_lacks_a_function_is_not_used(string missing)
    {
        FakeNvtx.Reset();
        AssertSilent(new NvtxApi(new FunctionSource("NVTX", "", name => name == missing ? 0 : FakeNvtx.Find(name))));
    }

    [Test]
    public void Nobody_listens_and_nothing_happens()
    {
        AssertSilent(NvtxApi.None);
        AssertSilent(NvtxApi.Inject(_ => 0));
    }

    private static void AssertSilent(NvtxApi api)
    {
        FakeNvtx.Reset();
        Assert.That(api.IsActive, Is.False);
        var domain = new NvtxDomain(api, "ParVts");
        using (domain.Begin(domain.Register("prefill"), 1))
        {
        }

        Assert.That(FakeNvtx.Heard, Is.Empty);
    }
}
