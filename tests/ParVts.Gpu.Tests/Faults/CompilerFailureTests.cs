using System.Runtime.InteropServices;
using ParVts.Cuda;
using ParVts.Cuda.Compilation;
using ParVts.Cuda.Native;
using ParVts.Engine.Tests.Formats;

namespace ParVts.Gpu.Tests.Faults;

/// <summary>Every call of NVRTC is made to fail once, when the compiler is opened and while kernels of prefill and of decode are compiled.</summary>
[NonParallelizable]
internal sealed unsafe class CompilerFailureTests
{
    [TestCase(1)]
    [TestCase(7)]
    public void Each_compiler_call_fails_once(int code)
    {
        using var machine = new Machine();
        using var folder = new TempFolder();
        using VlmEngine first = machine.Open();
        int[] answer = Machine.Answer(first);

        // The compiled kernels but two: one that a prefill needs first, one that the second step of an answer does.
        foreach (string file in Directory.GetFiles(machine.CacheFolder, "*-sm80-*.bin"))
        {
            if (!Path.GetFileName(file).StartsWith("patch-", StringComparison.Ordinal) && !Path.GetFileName(file).StartsWith("decode_combine-", StringComparison.Ordinal))
                File.Copy(file, folder.File(Path.GetFileName(file)));
        }

        var failing = new FailingCompiler();
        int opening = failing.Count(() => _ = new KernelCompiler(failing.Api));
        for (int call = 1; call <= opening; call++)
        {
            failing.FailCall(call, code);
            CudaException error = Assert.Throws<CudaException>(() => _ = new KernelCompiler(failing.Api))!;
            Require(error, code);
        }

        var compiler = new KernelCompiler(failing.Api);
        using VlmEngine engine = machine.Open(compiler, folder.Path);
        int failures = 0;
        int refused = 0;
        for (int call = 1; ; call++)
        {
            failing.FailCall(1 + (call - 1) % 7, code);
            Exception? error = null;
            try
            {
                Assert.That(Machine.Answer(engine), Is.EqualTo(answer));
            }
#pragma warning disable CA1031 // Which error it is is what is looked at.
            catch (Exception caught)
#pragma warning restore CA1031
            {
                error = caught;
            }

            if (error is null && failing.Failed is null)
                break;
            failures++;

            // A program that cannot be destroyed costs no answer.
            if (failing.Failed == "nvrtcDestroyProgram")
                refused++;
            else
                Require(error, code, failing.Failed);
            Assert.That(call, Is.LessThan(40), "it never succeeds");
        }

        failing.FailCall(0, 0);
        Assert.That(Machine.Answer(engine), Is.EqualTo(answer));
        Assert.That(failures, Is.GreaterThanOrEqualTo(7));
        Assert.That(failing.Programs, Is.EqualTo(refused), "programs that nobody destroyed are those whose end was refused");
        TestContext.Out.WriteLine($"{opening} + {failures} failures");
    }

    private static void Require(Exception? error, int code, string? call = null)
    {
        Assert.That(error, Is.TypeOf<CudaException>(), $"{call} failed");
        var failed = (CudaException)error!;
        Assert.That(failed.Call, Does.StartWith("nvrtc"));
        Assert.That(failed.Code, Is.EqualTo(code));
        Assert.That(failed.Hint, Is.Not.Null);
        Assert.That(failed.IsOutOfMemory, Is.EqualTo(code == 1));
    }

    /// <summary>NVRTC, with a call of which one can be made to fail.</summary>
    private sealed class FailingCompiler
    {
        private readonly List<Delegate> _delegates = [];
        private int _left;
        private int _code;
        private int _calls;

        public FailingCompiler()
        {
            FunctionSource real = NvrtcApi.Find();
            Api = new NvrtcApi(new FunctionSource("NVRTC", real.Hint, name =>
            {
                nint address = real.Find(name);
                return name == "nvrtcGetErrorString" || address == 0 ? address : Wrap(name, (delegate* unmanaged<nint, nint, nint, nint, nint, nint, int>)address);
            }));
        }

        private delegate int Call(nint a, nint b, nint c, nint d, nint e, nint f);

        public NvrtcApi Api { get; }

        /// <summary>The function that was made to fail, or null.</summary>
        public string? Failed { get; private set; }

        /// <summary>Programs that were created and not destroyed.</summary>
        public int Programs { get; private set; }

        public void FailCall(int call, int code) => (_left, _code, Failed) = (call, code, null);

        public int Count(Action action)
        {
            _calls = 0;
            action();
            return _calls;
        }

        // What a function does not take is garbage in registers that it does not read.
        private nint Wrap(string name, delegate* unmanaged<nint, nint, nint, nint, nint, nint, int> real)
        {
            Call call = (a, b, c, d, e, f) =>
            {
                _calls++;
                if (--_left == 0)
                {
                    Failed = name;
                    return _code;
                }

                int result = real(a, b, c, d, e, f);
                if (result == 0)
                    Programs += name == "nvrtcCreateProgram" ? 1 : name == "nvrtcDestroyProgram" ? -1 : 0;
                return result;
            };
            _delegates.Add(call);
            return Marshal.GetFunctionPointerForDelegate(call);
        }
    }
}
