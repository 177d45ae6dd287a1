namespace ParVts.GpuSim.Tests;

/// <summary>Faulty kernels and launches must be caught, by kind and by the line of the source.</summary>
internal sealed class BrokenTests : SimTest
{
    private const string File = "broken.cu";

    [TestCase("read_beyond", FaultKind.OutOfBounds, 32, "in32", "out32")]
    [TestCase("write_beyond", FaultKind.OutOfBounds, 33, "out32", 32)]
    [TestCase("null_pointer", FaultKind.OutOfBounds, 1, "null")]
    [TestCase("shared_beyond", FaultKind.OutOfBounds, 32, "out32", 1)]
    [TestCase("shared_beyond", FaultKind.OutOfBounds, 32, "out32", -1)]
    [TestCase("local_beyond", FaultKind.OutOfBounds, 32, "out32", 1)]
    [TestCase("misaligned", FaultKind.Misaligned, 1, "out32", 2)]
    [TestCase("unwritten_global", FaultKind.UnwrittenRead, 32, "blank32", "out32")]
    [TestCase("unwritten_shared", FaultKind.UnwrittenRead, 32, "out32", 1)]
    [TestCase("unwritten_local", FaultKind.UnwrittenRead, 32, "out32", 0)]
    [TestCase("stale_pointer", FaultKind.UseAfterFree, 32, "stale")]
    [TestCase("divergent_barrier", FaultKind.DivergentBarrier, 32, "out32")]
    [TestCase("two_barriers", FaultKind.DivergentBarrier, 64, "out32")]
    [TestCase("divergent_shuffle", FaultKind.DivergentWarp, 32, "out32")]
    [TestCase("race_across_warps", FaultKind.Race, 64, "out64")]
    [TestCase("race_in_warp", FaultKind.Race, 32, "out32")]
    [TestCase("overwritten_too_soon", FaultKind.Race, 64, "ramp128", "out128")]
    [TestCase("no_wait", FaultKind.AsyncNotWaited, 32, "in128", "out128")]
    public void IsCaught(string kernel, FaultKind kind, int threads, params object[] arguments)
    {
        Expect(kernel, kind, () => Launch(File, kernel, new Dim3(1), new Dim3(threads), 0, [.. arguments.Select(Argument)]));
    }

    /// <summary>It is the search for races that finds them: without it the same kernels run to their end.</summary>
    [TestCase("race_across_warps", 64)]
    [TestCase("race_in_warp", 32)]
    public void WithoutTheSearchRacesPass(string kernel, int threads)
    {
        Gpu.DetectRaces = false;
        Assert.That(() => Launch(File, kernel, new Dim3(1), new Dim3(threads), 0, Argument("out64")), Throws.Nothing);
    }

    [Test]
    public void RaceAcrossBlocks() =>
        Expect("race_across_blocks", FaultKind.Race, () => Launch(File, "race_across_blocks", new Dim3(4), new Dim3(32), 0, Argument("out32")));

    [Test]
    public void EndlessLoop()
    {
        Gpu.InstructionLimit = 10_000;
        ulong flag = Upload(new int[1]);
        SimFaultException fault = Fault(() => Launch(File, "endless", new Dim3(1), new Dim3(1), 0, flag));
        Assert.That(fault.Kind, Is.EqualTo(FaultKind.Runaway));
    }

    [Test]
    public void FaultNamesItsPlace()
    {
        ulong input = Upload(new int[40]), output = Gpu.Memory.Allocate(4 * 64);
        SimFaultException fault = Fault(() => Launch(File, "read_beyond", new Dim3(1), new Dim3(64), 0, input, output));
        Assert.That(fault.Address, Is.EqualTo(input + 160));
        Assert.That(fault.Kernel, Is.EqualTo("read_beyond"));
        Assert.That(fault.Thread, Is.EqualTo(new Dim3(39, 0, 0)));
        Assert.That(fault.Block, Is.EqualTo(new Dim3(0, 0, 0)));
        Assert.That(fault.Message, Does.Contain("broken.cu:").And.Contain("ld.global"));
    }

    [Test]
    public void WrongParameterSize()
    {
        Assert.That(Fault(() => Launch(File, "sized", new Dim3(1), new Dim3(1), 0, 1, 2)).Kind, Is.EqualTo(FaultKind.ParameterSize));
        Assert.That(() => Launch(File, "sized", new Dim3(1), new Dim3(1), 0, 1, 2UL), Throws.TypeOf<SimFaultException>());
    }

    [Test]
    public void LaunchesThatNoGpuTakes()
    {
        ulong output = Gpu.Memory.Allocate(256);
        Assert.That(Fault(() => Launch(File, "many_shared", new Dim3(1), new Dim3(32), 200_000, output)).Kind, Is.EqualTo(FaultKind.LaunchSize));
        Assert.That(Fault(() => Launch(File, "many_shared", new Dim3(1), new Dim3(1025), 8192, output)).Kind, Is.EqualTo(FaultKind.LaunchSize));
        Assert.That(Fault(() => Launch(File, "many_shared", new Dim3(0), new Dim3(32), 8192, output)).Kind, Is.EqualTo(FaultKind.LaunchSize));
        Assert.That(Fault(() => Launch(File, "many_shared", new Dim3(1), new Dim3(32), 64, output)).Kind, Is.EqualTo(FaultKind.OutOfBounds));
        Assert.That(() => Launch(File, "many_shared", new Dim3(1), new Dim3(32), 128, output), Throws.Nothing);
    }

    [Test]
    public void FreesAndLeaks()
    {
        ulong a = Gpu.Memory.Allocate(100, "a"), b = Gpu.Memory.Allocate(100, "b");
        Assert.That(Gpu.Memory.Leaks(), Has.Count.EqualTo(2));
        Gpu.Memory.Free(a);
        Assert.That(Gpu.Memory.Leaks().Single().Name, Is.EqualTo("b"));
        Assert.That(Fault(() => Gpu.Memory.Free(a)).Kind, Is.EqualTo(FaultKind.DoubleFree));
        Assert.That(Fault(() => Gpu.Memory.Free(b + 4)).Kind, Is.EqualTo(FaultKind.InvalidFree));
        Assert.That(Fault(() => Gpu.Memory.Write(a, new byte[1])).Kind, Is.EqualTo(FaultKind.UseAfterFree));
        Assert.That(Fault(() => Gpu.Memory.Read(b, new byte[1])).Kind, Is.EqualTo(FaultKind.UnwrittenRead));
        Assert.That(Fault(() => Gpu.Memory.Write(b, new byte[101])).Kind, Is.EqualTo(FaultKind.OutOfBounds));
    }

    [Test]
    public void UnknownPtxIsNamed()
    {
        const string Ptx = ".version 7.8\n.target sm_80\n.address_size 64\n.visible .entry k()\n{\n.reg .b32 %r<3>;\n OP;\nret;\n}\n";
        Assert.That(() => Gpu.LoadModule(Ptx.Replace("OP", "tex.2d.v4.f32.f32 %r1, %r2")), Throws.TypeOf<Ptx.PtxException>().With.Message.Contains("tex.2d"));
        Assert.That(() => Gpu.LoadModule(Ptx.Replace("OP", "add.strange.s32 %r1, %r1, %r2")),
            Throws.TypeOf<Ptx.PtxException>().With.Message.Contains(".strange").And.Message.Contains("line 7"));
    }

    /// <summary>The launch fails with the kind named, at the line of the kernel that says "fault".</summary>
    private static void Expect(string kernel, FaultKind kind, Action launch)
    {
        SimFaultException fault = Fault(launch);
        string[] lines = Nvrtc.Source(File).Split('\n');
        int start = Array.FindIndex(lines, l => l.Contains($"void {kernel}("));
        int line = Array.FindIndex(lines, start, l => l.Contains("// fault")) + 1;
        Assert.That(fault.Kind, Is.EqualTo(kind), fault.Message);
        Assert.That(fault.SourceLine, Is.EqualTo(line), fault.Message);
    }

    private static SimFaultException Fault(Action what) =>
        Assert.Throws<SimFaultException>(what) ?? throw new InvalidOperationException("no fault");

    private object Argument(object name)
    {
        if (name is not string text)
            return name;
        int count = text.Length > 2 && int.TryParse(text.AsSpan(text.IndexOfAny([.. "0123456789"]) is var at and >= 0 ? at : 0), out int n) ? n : 0;
        if (text.StartsWith("in", StringComparison.Ordinal))
            return Upload(new int[count]);
        if (text.StartsWith("ramp", StringComparison.Ordinal))
            return Upload<int>([.. Enumerable.Range(0, count)]);
        if (count > 0)
            return Gpu.Memory.Allocate(4 * count);
        if (text == "null")
            return 0UL;
        ulong stale = Gpu.Memory.Allocate(128);
        Gpu.Memory.Free(stale);
        return stale;
    }
}
