using System.Diagnostics;
using System.Text;
using System.Text.Json;

namespace ParVts.Runner.Tests;

/// <summary>What a process left behind.</summary>
internal sealed record Outcome(int Code, byte[] OutputBytes, string Errors)
{
    /// <summary>Standard output as text.</summary>
    public string Output { get; } = Encoding.UTF8.GetString(OutputBytes);

    /// <summary>Standard output, which must be exactly one JSON object; the process must have ended well.</summary>
    public JsonElement Json
    {
        get
        {
            Assert.That(Code, Is.Zero, Errors);
            JsonElement root = JsonDocument.Parse(Output).RootElement;
            Assert.That(root.ValueKind, Is.EqualTo(JsonValueKind.Object));
            return root;
        }
    }
}

/// <summary>Runs the built runner as a process, as a user would.</summary>
internal static class Parvts
{
    private const int TimeLimitMilliseconds = 60_000;

    /// <summary>Runs it without standard input.</summary>
    public static Outcome Run(params string[] arguments) => RunWithInput([], arguments);

    /// <summary>Runs it with a text on standard input.</summary>
    public static Outcome RunWithInput(string input, params string[] arguments) =>
        RunWithInput(Encoding.UTF8.GetBytes(input), arguments);

    /// <summary>Runs it with bytes on standard input.</summary>
    public static Outcome RunWithInput(byte[] input, params string[] arguments) => Finish(Start(arguments), input, arguments);

    /// <summary>Runs it with an environment variable set.</summary>
    public static Outcome RunWith(string variable, string value, params string[] arguments)
    {
        ProcessStartInfo start = Prepare(arguments);
        start.Environment[variable] = value;
        return Finish(Process.Start(start)!, [], arguments);
    }

    private static Outcome Finish(Process started, byte[] input, string[] arguments)
    {
        using Process process = started;
        Task<string> errors = process.StandardError.ReadToEndAsync();
        using var output = new MemoryStream();
        Task copying = process.StandardOutput.BaseStream.CopyToAsync(output);
        try
        {
            process.StandardInput.BaseStream.Write(input);
            process.StandardInput.Close();
        }
        catch (IOException)
        {
            // It ended without reading its input.
        }

        if (!process.WaitForExit(TimeLimitMilliseconds))
        {
            process.Kill();
            Assert.Fail($"'parvts {string.Join(' ', arguments)}' did not end");
        }

        copying.Wait();
        return new Outcome(process.ExitCode, output.ToArray(), errors.Result);
    }

    /// <summary>Starts it, every stream redirected.</summary>
    public static Process Start(params string[] arguments) => Process.Start(Prepare(arguments))!;

    private static ProcessStartInfo Prepare(string[] arguments)
    {
        var start = new ProcessStartInfo(Environment.ProcessPath is { } host && Path.GetFileNameWithoutExtension(host) == "dotnet" ? host : "dotnet")
        {
            UseShellExecute = false,
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        start.ArgumentList.Add(Path.Combine(AppContext.BaseDirectory, "parvts.dll"));
        foreach (string argument in arguments)
            start.ArgumentList.Add(argument);
        return start;
    }

    /// <summary>Large numbers of a JSON array.</summary>
    public static long[] Longs(this JsonElement array) => [.. array.EnumerateArray().Select(number => number.GetInt64())];

    /// <summary>Numbers of a JSON array.</summary>
    public static int[] Numbers(this JsonElement array) => [.. array.EnumerateArray().Select(number => number.GetInt32())];
}
