using ParVts.Cuda;
using ParVts.Cuda.Compilation;
using ParVts.Cuda.Tests;
using ParVts.Engine.Compute.Cuda;
using ParVts.Engine.Formats;
using ParVts.Engine.Generation;
using ParVts.Engine.Tests.Generation;
using ParVts.GpuSim.Driver;

namespace ParVts.Gpu.Tests;

/// <summary>What <c>parvts warm</c> compiles is all that runs need.</summary>
internal sealed class WarmTests
{
    // Together they launch whatever any policy does.
    private static readonly string[] s_policies =
    [
        "dense", "parvts:keep=20,migrate=2,fuse=lse", "parvts:keep=20,migrate=1,fuse=mass", "cls-prune:keep=9+fastv:layer=2,keep=3",
        "visipruner:shallow=0,tcos=1", "dart:layer=1,keep=8,visual_pivots=2,text_pivots=2", "visiondrop:dominant=8/6,contextual=3/2,layers=1",
        "tome:merge=2", "prumerge", "st3:start=1,stride=1,keep=0.5,floor=4,every=1", "shortv:layers=1", "yopo:window=3,cut=1",
    ];

    [Test]
    public void A_run_of_a_warmed_model_compiles_nothing()
    {
        KernelCompiler compiler = TestCompiler.Require();
        string model = DemoModel.Folder;
        string folder = Path.Combine(Path.GetTempPath(), "parvts-warm-" + Guid.NewGuid().ToString("N"));
        var options = new CudaOptions { CacheFolder = folder, PtxOnly = true };
        using var sim = new SimDriver();
        sim.Gpu.DetectRaces = false;
        try
        {
            int files = KernelCatalog.Warm(new KernelCache(compiler, folder), sim.Architecture, ModelConfigReader.Read(model), options);
            Assert.That(Directory.GetFiles(folder), Has.Length.EqualTo(files));
            using (VlmEngine engine = VlmEngine.Open(model, new EngineOptions
            {
                OpenDevice = () => CudaDevice.Open(sim.Api, compiler, CudaDeviceInfo.All(sim.Api)[0], "sim", options),
            }))
            {
                float[] grey = new float[3 * engine.Config.Vision.ImageSize * engine.Config.Vision.ImageSize];
                Prompt prompt = engine.CreatePrompt([5, engine.Config.ImageTokenId, 6, 7, 8], [new PromptImage(grey)]);
                foreach (string policy in s_policies)
                {
                    using Session session = engine.CreateSession(policy);
                    session.Generate(prompt, new GenerationOptions { MaxTokens = 3, IgnoreEndOfSequence = true });
                    session.Generate(prompt, new GenerationOptions { MaxTokens = 2, IgnoreEndOfSequence = true, Temperature = 1 });
                }
            }

            Assert.That(sim.Faults.Select(fault => fault.Message), Is.Empty);
            Assert.That(Directory.GetFiles(folder), Has.Length.EqualTo(files), "something was compiled that was not warmed");
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }
}
