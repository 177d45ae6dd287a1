using System.Diagnostics;
using System.Text;
using ParVts.Cuda.Compilation;

namespace ParVts.Cuda.Tests;

/// <summary>The real NVRTC, and the cache of what it made. Skipped, by name, where there is no NVRTC.</summary>
public class CompilationTests
{
    private static readonly Dictionary<string, string> s_headers = new() { ["twice.cuh"] = "__device__ float twice(float x) { return 2.0f * x; }\n" };

    private static readonly KernelSource s_source = new(
        "scale.cu",
        """
        #include "twice.cuh"
        struct Shape { int rows; int columns; short step; };
        extern "C" __global__ void scale(float* data, float factor, int count, Shape shape, const unsigned char* mask)
        {
            int i = blockIdx.x * blockDim.x + threadIdx.x;
            if (i < count && mask[i])
                data[i] = twice(data[i]) * factor + shape.rows;
        }
        extern "C" __global__ void nothing() {}
        """,
        s_headers);

    private string _folder = "";

    [SetUp]
    public void MakeFolder() => _folder = Directory.CreateTempSubdirectory("parvts-kernels-").FullName;

    [TearDown]
    public void RemoveFolder() => Directory.Delete(_folder, recursive: true);

    [TestCase(80)]
    [TestCase(86)]
    [TestCase(89)]
    [TestCase(90)]
    public void A_kernel_becomes_ptx_and_machine_code_for_every_architecture(int architecture)
    {
        CompiledKernel compiled = Compiler().Compile(s_source, Target(architecture));
        Assert.That(compiled.Ptx, Does.Contain($".target sm_{architecture}").And.Contain(".visible .entry scale("));
        Assert.That(compiled.Cubin.AsSpan(0, 4).ToArray(), Is.EqualTo(new byte[] { 0x7F, (byte)'E', (byte)'L', (byte)'F' }));
        Assert.That(compiled.Log, Does.Contain("registers"));
    }

    [Test]
    public void An_architecture_that_the_compiler_does_not_know_gets_ptx_of_the_newest_before_it()
    {
        KernelCompiler compiler = Compiler();
        CompiledKernel compiled = compiler.Compile(s_source, Target(999));
        Assert.That(compiled.Cubin, Is.Empty);
        Assert.That(compiled.Ptx, Does.Contain($".target sm_{compiler.Architectures.Max()}"));
        Assert.That(() => compiler.Compile(s_source, Target(10)), Throws.TypeOf<CudaException>().With.Message.Contain("sm_10 is not known"));
    }

    [Test]
    public void The_signature_is_what_the_compiler_declared()
    {
        string ptx = Compiler().Compile(s_source, Target(80)).Ptx;
        Assert.That(
            KernelSignature.Read(ptx, "scale").Parameters,
            Is.EqualTo(new KernelParameter[] { new("u64", 0, 8), new("f32", 8, 4), new("u32", 12, 4), new("b8", 16, 12), new("u64", 32, 8) }));
        Assert.That(KernelSignature.Read(ptx, "nothing").Parameters, Is.Empty);
        Assert.That(() => KernelSignature.Read(ptx, "scal"), Throws.ArgumentException);
    }

    [Test]
    public void A_mistake_is_shown_with_its_lines()
    {
        KernelSource wrong = s_source with { Text = s_source.Text.Replace("factor +", "faktor +", StringComparison.Ordinal) };
        KernelCompileException error = Assert.Throws<KernelCompileException>(() => Compiler().Compile(wrong, Target(80)))!;
        Assert.That(error.Message, Does.Contain("scale.cu").And.Contain("faktor").And.Contain(">    7 |         data[i] = twice(data[i]) * faktor"));
        KernelSource header = s_source with { Headers = new Dictionary<string, string> { ["twice.cuh"] = "__device__ float twice(float x) { return x }\n" } };
        error = Assert.Throws<KernelCompileException>(() => Compiler().Compile(header, Target(80)))!;
        Assert.That(error.Message, Does.Contain("return x }"), "a header's line");
        error = Assert.Throws<KernelCompileException>(() => Compiler().Compile(s_source with { Headers = new Dictionary<string, string>() }, Target(80)))!;
        Assert.That(error.Message, Does.Contain("twice.cuh"), "nothing is read from disk");
    }

    [Test]
    public void A_kernel_is_compiled_once_and_read_afterwards()
    {
        var first = new KernelCache(Compiler(), _folder);
        CompiledKernel made = first.Get(s_source, Target(80));
        var second = new KernelCache(Compiler(), _folder);
        CompiledKernel read = second.Get(s_source, Target(80));
        Assert.That((first.Compiled, second.Compiled), Is.EqualTo((1, 0)));
        Assert.That(read.Ptx, Is.EqualTo(made.Ptx));
        Assert.That(read.Cubin, Is.EqualTo(made.Cubin));
        Assert.That(read.Log, Is.EqualTo(made.Log));
        Assert.That(Directory.GetFiles(_folder).Select(Path.GetExtension), Is.All.EqualTo(".bin"), "no lock and no partial file stays");

        // All that the bytes follow from is in the key.
        second.Get(s_source, Target(86));
        second.Get(s_source, Target(80) with { LineInfo = true });
        second.Get(s_source, new KernelTarget(80, new Dictionary<string, string> { ["HEAD_DIM"] = "64" }));
        second.Get(s_source with { Text = s_source.Text + "\n" }, Target(80));
        second.Get(s_source with { Headers = new Dictionary<string, string> { ["twice.cuh"] = s_headers["twice.cuh"] + "\n" } }, Target(80));
        Assert.That(second.Compiled, Is.EqualTo(5));
    }

    [Test]
    public void A_damaged_entry_is_compiled_again()
    {
        CompiledKernel made = new KernelCache(Compiler(), _folder).Get(s_source, Target(80));
        string entry = Directory.GetFiles(_folder).Single();
        byte[] good = File.ReadAllBytes(entry);
        foreach (byte[] bad in new[] { [], good[..7], good[..^1], Flip(good, 0), Flip(good, good.Length / 2), Flip(good, good.Length - 1), [.. good, 0] })
        {
            File.WriteAllBytes(entry, bad);
            var cache = new KernelCache(Compiler(), _folder);
            Assert.That(cache.Get(s_source, Target(80)).Cubin, Is.EqualTo(made.Cubin));
            Assert.That(cache.Compiled, Is.EqualTo(1), $"{bad.Length} bytes");
            Assert.That(File.ReadAllBytes(entry), Is.EqualTo(good), "and put right");
        }

        static byte[] Flip(byte[] bytes, int place)
        {
            byte[] copy = [.. bytes];
            copy[place] ^= 1;
            return copy;
        }
    }

    [Test]
    public void A_folder_that_cannot_be_written_costs_only_time()
    {
        // A file stands where the folder should be: refused even to root.
        string file = Path.Combine(_folder, "file");
        File.WriteAllText(file, "");
        var warnings = new List<string>();
        var cache = new KernelCache(Compiler(), Path.Combine(file, "kernels"), warnings.Add);
        Assert.That(cache.Get(s_source, Target(80)).Cubin, Is.Not.Empty);
        Assert.That(cache.Get(s_source, Target(80)).Cubin, Is.Not.Empty);
        Assert.That(cache.Compiled, Is.EqualTo(2));
        Assert.That(warnings, Has.Count.EqualTo(1), "said once");
        Assert.That(warnings[0], Does.Contain("cannot be kept").And.Contain("compiled at every start"));
    }

    [Test]
    public void Two_that_want_the_same_kernel_compile_it_once()
    {
        KernelCache[] caches = [.. Enumerable.Range(0, 4).Select(_ => new KernelCache(Compiler(), _folder))];
        CompiledKernel[] got = new CompiledKernel[4];
        Parallel.For(0, 4, i => got[i] = caches[i].Get(s_source, Target(80)));
        Assert.That(caches.Sum(cache => cache.Compiled), Is.EqualTo(1));
        Assert.That(got.Select(kernel => kernel.Ptx).Distinct().Count(), Is.EqualTo(1));
    }

    [Test]
    public void A_lock_that_a_dead_process_left_does_not_hold_anybody_up()
    {
        var cache = new KernelCache(Compiler(), _folder);
        cache.Get(s_source, Target(80));
        string entry = Directory.GetFiles(_folder).Single();
        File.Delete(entry);
        File.WriteAllText(entry + ".lock", "");
        var watch = Stopwatch.StartNew();
        cache.Get(s_source, Target(80));
        Assert.That(watch.Elapsed, Is.LessThan(TimeSpan.FromSeconds(20)));
    }

    [Test]
    public void A_folder_that_can_only_be_read_serves_what_it_holds()
    {
        // Which entry a kernel has is learnt in another folder.
        string elsewhere = Path.Combine(_folder, "elsewhere");
        new KernelCache(Compiler(), elsewhere).Get(s_source, Target(86));
        string other = Path.GetFileName(Directory.GetFiles(elsewhere).Single());
        string folder = Path.Combine(_folder, "kernels");
        new KernelCache(Compiler(), folder).Get(s_source, Target(80));

        // A folder stands where the lock should be: refused even to root.
        Directory.CreateDirectory(Path.Combine(folder, other + ".lock"));
        var warnings = new List<string>();
        var cache = new KernelCache(Compiler(), folder, warnings.Add);
        var watch = Stopwatch.StartNew();
        cache.Get(s_source, Target(80));
        Assert.That((cache.Compiled, warnings.Count), Is.EqualTo((0, 0)), "reading needs no lock");
        cache.Get(s_source, Target(86));
        cache.Get(s_source, Target(86));
        Assert.That((cache.Compiled, warnings.Count), Is.EqualTo((2, 1)));
        Assert.That(watch.Elapsed, Is.LessThan(TimeSpan.FromSeconds(20)), "nobody waits for a lock that nobody holds");
    }

    [Test]
    public void An_entry_that_cannot_be_written_leaves_nothing_behind()
    {
        string elsewhere = Path.Combine(_folder, "elsewhere");
        new KernelCache(Compiler(), elsewhere).Get(s_source, Target(80));
        string folder = Path.Combine(_folder, "kernels");
        Directory.CreateDirectory(Path.Combine(folder, Path.GetFileName(Directory.GetFiles(elsewhere).Single())));
        var warnings = new List<string>();
        var cache = new KernelCache(Compiler(), folder, warnings.Add);
        Assert.That(cache.Get(s_source, Target(80)).Cubin, Is.Not.Empty);
        Assert.That((cache.Compiled, warnings.Count), Is.EqualTo((1, 1)));
        Assert.That(Directory.GetFiles(folder), Is.Empty);
    }

    [Test]
    [Platform("Linux")]
    public void Another_process_that_compiles_is_waited_for()
    {
        string elsewhere = Path.Combine(_folder, "elsewhere");
        new KernelCache(Compiler(), elsewhere).Get(s_source, Target(80));
        string made = Directory.GetFiles(elsewhere).Single();
        string folder = Path.Combine(_folder, "kernels");
        Directory.CreateDirectory(folder);
        string entry = Path.Combine(folder, Path.GetFileName(made));

        // The other one holds the lock, says so, and has its entry there a second later.
        var start = new ProcessStartInfo("flock") { RedirectStandardOutput = true, UseShellExecute = false };
        foreach (string argument in (string[])[entry + ".lock", "sh", "-c", $"echo held; sleep 1; cp '{made}' '{entry}.x'; mv '{entry}.x' '{entry}'"])
            start.ArgumentList.Add(argument);
        using Process other = Process.Start(start)!;
        Assert.That(other.StandardOutput.ReadLine(), Is.EqualTo("held"));
        var cache = new KernelCache(Compiler(), folder);
        CompiledKernel got = cache.Get(s_source, Target(80));
        other.WaitForExit();
        Assert.That(cache.Compiled, Is.Zero, "it compiled, we did not");
        Assert.That(got.Ptx, Does.Contain(".entry scale("));
    }

    [Test]
    public void Profilers_find_the_sources()
    {
        string sources = Path.Combine(_folder, "sources");
        KernelTarget target = Target(80) with { SourceFolder = sources };
        var cache = new KernelCache(Compiler(), Path.Combine(_folder, "kernels"));
        CompiledKernel compiled = cache.Get(s_source, target);
        Assert.That(compiled.Ptx, Does.Contain($"\"{Path.Combine(sources, "scale.cu")}\"").And.Contain($"\"{Path.Combine(sources, "twice.cuh")}\""), "lines name files by their paths");
        Assert.That(compiled.Ptx, Does.Contain(".loc"));
        Assert.That(compiled.Cubin.AsSpan().IndexOf(Encoding.UTF8.GetBytes(sources)), Is.Positive, "the machine code as well");
        Assert.That(File.ReadAllText(Path.Combine(sources, "scale.cu")), Is.EqualTo(s_source.Text));
        Directory.Delete(sources, recursive: true);
        cache.Get(s_source, target);
        Assert.That(cache.Compiled, Is.EqualTo(1));
        Assert.That(Directory.GetFiles(sources).Select(Path.GetFileName), Is.EquivalentTo((string[])["scale.cu", "twice.cuh"]), "there again, though nothing was compiled");
        KernelSource wrong = s_source with { Text = s_source.Text.Replace("factor +", "faktor +", StringComparison.Ordinal) };
        Assert.That(() => cache.Get(wrong, target), Throws.TypeOf<KernelCompileException>().With.Message.Contain(">    7 |         data[i] = twice(data[i]) * faktor"));
    }

    private static KernelTarget Target(int architecture) => new(architecture, new Dictionary<string, string>());

    private static KernelCompiler Compiler() => TestCompiler.Require();
}
