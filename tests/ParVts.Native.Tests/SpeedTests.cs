using System.Diagnostics;
using System.Globalization;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using ParVts.Engine.Generation;
using ParVts.Engine.Imaging;
using ParVts.Engine.Text;

namespace ParVts.Native.Tests;

/// <summary>
/// What the C ABI costs a token: the table against the engine, in one process, by turns. The bounds here leave room for a busy machine;
/// tools/native-speed.sh does the same with more turns and prints what docs/measurements keeps.
/// </summary>
[NonParallelizable]
public sealed unsafe class SpeedTests
{
    private const int Tokens = 64;

    // Until the runtime has compiled the engine's code for the last time.
    private const int WarmUps = 20;

    // PARVTS_SPEED_TURNS: how often each side answers.
    private static int Turns { get; } =
        int.TryParse(Environment.GetEnvironmentVariable("PARVTS_SPEED_TURNS"), NumberStyles.None, CultureInfo.InvariantCulture, out int turns) ? turns : 20;

    // PARVTS_SPEED_THREADS: one by default, which is steady also where other programs run.
    private static int Threads { get; } =
        int.TryParse(Environment.GetEnvironmentVariable("PARVTS_SPEED_THREADS"), NumberStyles.None, CultureInfo.InvariantCulture, out int threads) ? threads : 1;

    // The same code on both sides of the table: what is left is the table.
    [Test]
    public void AStepThroughTheTableCostsAtMostFiftyMicroseconds()
    {
        (double[] engine, double[] table) = ByTurns(SmallModel.Folder, Host.Api);
        double most = (table.Min() - engine.Min()) * 1000;
        Report("the table, small model", engine, table);
        Assert.That(most, Is.LessThan(50), "µs a token");
    }

    // The library is compiled ahead of time by another version of .NET than the one that runs the engine here.
    [Test]
    public void TheLibraryIsAsFastAsTheEngine()
    {
        nint library = NativeLibrary.Load(NativeLibraryFiles.Library);
        var get = (delegate* unmanaged[Cdecl]<uint, Api**, ErrorInfo*, int>)NativeLibrary.GetExport(library, "parvts_get_api");
        Api* api;
        ErrorInfo error = Host.Error();
        Host.Ok(get(Api.CurrentVersion, &api, &error), error);
        (double[] engine, double[] table) = ByTurns(Host.Model, api);
        Report("libparvts, demo model", engine, table);
        Assert.That(table.Min() / engine.Min(), Is.LessThan(1.25), "times the engine's time a token");
    }

    private static void Report(string what, double[] engine, double[] table)
    {
        Array.Sort(engine);
        Array.Sort(table);
        TestContext.Out.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"{what}: ms a token, median (quartiles) of {Turns}: engine {Quartiles(engine)}, C ABI {Quartiles(table)}; ratio of medians {table[Turns / 2] / engine[Turns / 2]:F3}, of the shortest {table[0] / engine[0]:F3}; {(table[Turns / 2] - engine[Turns / 2]) * 1000:F1} µs a token more"));
    }

    private static string Quartiles(double[] sorted) => string.Create(
        CultureInfo.InvariantCulture, $"{sorted[Turns / 2]:F4} ({sorted[Turns / 4]:F4} to {sorted[Turns * 3 / 4]:F4})");

    // Milliseconds a token of either side, text callback and all. The prompt is in the cache but for its last token.
    private static (double[] Engine, double[] Table) ByTurns(string folder, Api* api)
    {
        using var engine = Engine.Generation.Engine.Open(folder, new EngineOptions { Threads = Threads });
        using Session session = engine.CreateSession("dense");
        Prompt prompt = engine.CreatePrompt(
            [new ChatMessage("user", [ChatPart.Image, ChatPart.OfText("what color is the circle?")])], [engine.PrepareImage(ImageDecoder.Load(Host.Picture))]);
        var options = new GenerationOptions { MaxTokens = Tokens, IgnoreEndOfSequence = true };
        ErrorInfo error = Host.Error();
        ulong model, image, asked, cache, how, result;
        fixed (byte* directory = Host.C(folder), picture = Host.C(Host.Picture), user = Host.C("user"), text = Host.C("what color is the circle?"), ofEngine = Host.C("engine"), threads = Host.C("threads"))
        {
            Host.Ok(api->OptionsCreate(ofEngine, &how, &error), error);
            Host.Ok(api->OptionsSetInt(how, threads, Threads, &error), error);
            Host.Ok(api->EngineOpen(directory, how, &model, &error), error);
            Host.Ok(api->OptionsClose(how, &error), error);
            Host.Ok(api->ImageLoad(model, picture, null, &image, &error), error);
            Host.Ok(api->PromptCreate(model, null, &asked, &error), error);
            Host.Ok(api->PromptAddImage(asked, user, image, &error), error);
            Host.Ok(api->PromptAddText(asked, user, text, &error), error);
        }

        Host.Ok(api->SessionOpen(model, null, &cache, &error), error);
        fixed (byte* kind = Host.C("generation"), most = Host.C("max_tokens"), ignore = Host.C("ignore_eos"))
        {
            Host.Ok(api->OptionsCreate(kind, &how, &error), error);
            Host.Ok(api->OptionsSetInt(how, most, Tokens, &error), error);
            Host.Ok(api->OptionsSetInt(how, ignore, 1, &error), error);
        }

        double[] byEngine = new double[Turns], byTable = new double[Turns];
        int pieces = 0;
        for (int turn = -WarmUps; turn < Turns; turn++)
        {
            double start = Now();
            session.Generate(prompt, options, _ => pieces++, CancellationToken.None);
            double first = (Now() - start) / Tokens;
            start = Now();
            Host.Ok(api->Generate(cache, asked, how, &Ignore, null, &result, &error), error);
            double second = (Now() - start) / Tokens;
            Host.Ok(api->ResultClose(result, &error), error);
            if (turn >= 0)
                (byEngine[turn], byTable[turn]) = (first, second);
        }

        Assert.That(pieces, Is.Positive);
        foreach ((nint close, ulong handle) in new[] { ((nint)api->SessionClose, cache), ((nint)api->OptionsClose, how), ((nint)api->PromptClose, asked), ((nint)api->ImageClose, image), ((nint)api->EngineClose, model) })
            Host.Ok(((delegate* unmanaged[Cdecl]<ulong, ErrorInfo*, int>)close)(handle, &error), error);
        return (byEngine, byTable);
    }

    // Milliseconds: this thread's own where it does all the work, so that other programs count less.
    private static double Now()
    {
        if (Threads > 1)
            return Stopwatch.GetTimestamp() * 1e3 / Stopwatch.Frequency;
        const int OfThisThread = 3;
        long* time = stackalloc long[2];
        Assert.That(ClockGetTime(OfThisThread, time), Is.Zero);
        return (time[0] * 1e3) + (time[1] * 1e-6);
    }

    [DllImport("libc", EntryPoint = "clock_gettime")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int ClockGetTime(int clock, long* time);

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static int Ignore(void* user, byte* text, nuint bytes) => 0;
}
