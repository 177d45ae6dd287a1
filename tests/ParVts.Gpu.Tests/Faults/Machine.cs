using ParVts.Bench;
using ParVts.Cuda;
using ParVts.Cuda.Compilation;
using ParVts.Cuda.Native;
using ParVts.Cuda.Tests;
using ParVts.Engine.Compute;
using ParVts.Engine.Compute.Cuda;
using ParVts.Engine.Generation;
using ParVts.Engine.Tests.Formats;
using ParVts.GpuSim.Driver;

namespace ParVts.Gpu.Tests.Faults;

/// <summary>
/// A simulated GPU whose calls can be made to fail, and a model that is small enough to be run on it some hundred times. Kernels come
/// from the cache that all device tests share.
/// </summary>
internal sealed class Machine : IDisposable
{
    /// <summary>Rows split in two paths, a choice on the device, and a fusion.</summary>
    public const string Policy = "parvts:keep=4,migrate=1";

    /// <summary>Tokens of an answer: the step that loads kernels, one that may be recorded, and replays.</summary>
    public const int Tokens = 4;

    private static readonly string s_cache = Path.Combine(Path.GetTempPath(), "parvts-test-kernels");

    private readonly TempFolder _folder = new();

    private readonly CublasApi? _cublas;

    /// <param name="cublas">Matrix products by cuBLAS, as the simulated driver has it; else by our own kernels.</param>
    public Machine(bool cublas = false)
    {
        _cublas = cublas ? new CublasApi(Sim.Cublas.Functions) : null;
        Compiler = TestCompiler.Require();
        RandomModel.Write(_folder.Path, new RandomModelShape
        {
            Layers = 3,
            Hidden = 32,
            Mlp = 32,
            Heads = 1,
            KvHeads = 1,
            Vocabulary = 61,
            Grid = 3,
            VisionHidden = 32,
            VisionMlp = 32,
            Patch = 4,
            Seed = 5,
            Sharpness = 2,
        });

        // What these look for has tests of its own.
        Sim.Gpu.DetectRaces = false;
        Sim.Gpu.CountMemory = false;
        Api = new DriverApi(Sim.Functions);
    }

    public SimDriver Sim { get; } = new();

    /// <summary>The driver's table, which knows of lost contexts.</summary>
    public DriverApi Api { get; private set; }

    public KernelCompiler Compiler { get; }

    public string Model => _folder.Path;

    /// <summary>Where the tests' compiled kernels are.</summary>
    public string CacheFolder => s_cache;

    /// <summary>Starts the driver anew, finds the GPU and loads the model.</summary>
    public VlmEngine Start()
    {
        Api = new DriverApi(Sim.Functions);
        return Open();
    }

    /// <summary>Loads the model with a driver that runs already.</summary>
    public VlmEngine Open(KernelCompiler? compiler = null, string? cache = null, long? memoryCap = null, Action<string>? warning = null) =>
        VlmEngine.Open(_folder.Path, new EngineOptions
        {
            MemoryCap = memoryCap,
            OpenDevice = () => CudaDevice.Open(
                Api, compiler ?? Compiler, CudaDeviceInfo.Find(Api, "0"), "sim",
                new CudaOptions { CacheFolder = cache ?? s_cache, LineInfo = true, PtxOnly = true, Cublas = _cublas, Warning = warning }),
        });

    /// <summary>A picture between two texts.</summary>
    public static Prompt Question(VlmEngine engine, int seed = 1)
    {
        var random = new Random(seed);
        float[] pixels = new float[3 * engine.Config.Vision.ImageSize * engine.Config.Vision.ImageSize];
        for (int i = 0; i < pixels.Length; i++)
            pixels[i] = (float)(random.NextDouble() * 4 - 2);
        return engine.CreatePrompt([3, 7, engine.Config.ImageTokenId, 11, 13, 17, 19, 23 + seed], [new PromptImage(pixels)]);
    }

    /// <summary>An answer's tokens.</summary>
    public static int[] Answer(Session session, Prompt prompt) =>
        [.. session.Generate(prompt, new GenerationOptions { MaxTokens = Tokens, IgnoreEndOfSequence = true }).Tokens];

    /// <summary>An answer of a session of its own.</summary>
    public static int[] Answer(VlmEngine engine, int seed = 1)
    {
        using Session session = engine.CreateSession(Policy);
        return Answer(session, Question(engine, seed));
    }

    public void Dispose()
    {
        Sim.Dispose();
        _folder.Dispose();
    }
}
