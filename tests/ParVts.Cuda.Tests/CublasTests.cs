using ParVts.Cuda.Native;

namespace ParVts.Cuda.Tests;

/// <summary>cuBLAS's binding, on one that multiplies nothing: order of calls, arguments, lifetimes and errors.</summary>
[NonParallelizable]
public class CublasTests
{
    private static readonly CublasMatrix s_x = new(0x100, 3, 5, 8, CublasType.BFloat16);
    private static readonly CublasMatrix s_w = new(0x200, 7, 5, 16, CublasType.BFloat16);
    private static readonly CublasMatrix s_result = new(0x400, 3, 7, 12, CublasType.Float32);

    private CudaContext _context = null!;
    private CudaStream _stream = null!;

    [TearDown]
    public void Close()
    {
        _stream?.Dispose();
        _context?.Dispose();
    }

    [Test]
    public void Row_major_matrices_are_handed_over_as_their_transposes()
    {
        using CublasHandle cublas = Open();
        cublas.Gemm(s_x, s_w, s_result, alpha: 0.5f, beta: 1f);

        // 7 rows of w by 3 rows of x over 5 columns; 14 is bf16, 0 float32, 68 sums in float32.
        Assert.That(FakeDriver.LastGemm, Is.EqualTo("TN 7 3 5, 0.5 200:14:16 100:14:8, 1 400:0:12, 68 -1"));
        cublas.Gemm(s_x with { Type = CublasType.Float16 }, s_w with { Type = CublasType.Float16 }, s_result with { Type = CublasType.Float16 });
        Assert.That(FakeDriver.LastGemm, Is.EqualTo("TN 7 3 5, 1 200:2:16 100:2:8, 0 400:2:12, 68 -1"));
        FakeDriver.FailAt = FakeDriver.Calls + 2;
        CudaException error = Assert.Throws<CudaException>(() => cublas.Gemm(s_x, s_w, s_result))!;
        Assert.That(error.Message, Does.Contain("cublasGemmEx").And.Contain("CUBLAS_STATUS_NOT_SUPPORTED (15)").And.Contain("run without"));
    }

    [Test]
    public void The_workspace_is_our_own_and_set_after_the_stream()
    {
        using (CublasHandle cublas = Open())
        {
            Assert.That(FakeDriver.WorkspaceBytes, Is.EqualTo(4096));
            Assert.That(cublas.Version, Is.EqualTo(120103));
            Close();
            Assert.That(FakeDriver.Alive, Has.Count.EqualTo(4), "context, stream, workspace, handle");
        }

        Assert.That(FakeDriver.Alive, Is.Empty, "context and stream, which were disposed of first, lived as long as the handle");
        Assert.That(FakeDriver.Misuse, Is.Empty);
    }

    [Test]
    public void Any_one_call_that_fails_leaks_nothing([Range(1, 12)] int fail)
    {
        FakeDriver.Start();
        CublasApi api = FakeDriver.Cublas();
        DriverApi driver = FakeDriver.Load();
        using var context = new CudaContext(driver, CudaDeviceInfo.All(driver)[0]);
        var stream = new CudaStream(context);
        FakeDriver.FailWith = 3;
        FakeDriver.FailAt = FakeDriver.Calls + fail;
        Assert.That(() => new CublasHandle(context, api, stream, 4096).Dispose(), fail is 4 or 6 or 12 ? Throws.Nothing : Throws.TypeOf<CudaException>(), "pops cannot fail");
        stream.Dispose();
        Assert.That(FakeDriver.Alive, Has.Count.EqualTo(1), "the context");
        Assert.That(FakeDriver.Misuse, Is.Empty);
    }

    [Test]
    public void What_does_not_fit_together_is_refused_before_cublas_sees_it()
    {
        using CublasHandle cublas = Open();
        int calls = FakeDriver.Calls;
        Refused(s_x with { Columns = 4 }, s_w, s_result, "[3, 4] times the transpose of [7, 5]");
        Refused(s_x, s_w, s_result with { Rows = 4 }, "does not give [4, 7]");
        Refused(s_x, s_w, s_result with { Columns = 6 }, "does not give [3, 6]");
        Refused(s_x with { Stride = 4 }, s_w, s_result, "stride");
        Refused(s_x, s_w with { Rows = 0 }, s_result, "at least 1");
        Refused(s_x, s_w with { Type = CublasType.Float16 }, s_result, "BFloat16 times Float16");
        Refused(s_x, s_w, s_result with { Type = CublasType.Float16 }, "does not give Float16");
        Refused(s_x with { Address = 0x101 }, s_w, s_result, "aligned");
        Refused(s_x, s_w, s_result with { Address = 0 }, "null");
        Assert.That(FakeDriver.Calls, Is.EqualTo(calls));

        void Refused(CublasMatrix x, CublasMatrix w, CublasMatrix result, string why) =>
            Assert.That(() => cublas.Gemm(x, w, result), Throws.ArgumentException.With.Message.Contain(why));
    }

    [Test]
    public void A_cublas_that_lacks_a_function_is_refused_by_name() => Assert.That(
        () => FakeDriver.Cublas(missing: "cublasSetWorkspace_v2"),
        Throws.TypeOf<CudaLibraryException>().With.Message.Contain("has no function 'cublasSetWorkspace_v2', which CUDA 11.2 brought"));

    private CublasHandle Open()
    {
        DriverApi driver = FakeDriver.Start();
        FakeDriver.FailWith = 15;
        _context = new CudaContext(driver, CudaDeviceInfo.All(driver)[0]);
        _stream = new CudaStream(_context);
        return new CublasHandle(_context, FakeDriver.Cublas(), _stream, 4096);
    }
}
