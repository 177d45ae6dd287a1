using System.Diagnostics;

namespace ParVts.Package.Tests;

/// <summary>Programs that are run, and what they left.</summary>
internal static class Tool
{
    /// <summary>Runs a program to its end.</summary>
    public static Finished Run(string program, params string[] arguments) => Run(program, arguments, null, null);

    /// <summary>The same in a folder, with variables added to the environment.</summary>
    public static Finished Run(string program, string[] arguments, string? folder, IReadOnlyDictionary<string, string>? environment)
    {
        var start = new ProcessStartInfo(program, arguments)
        {
            UseShellExecute = false,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            WorkingDirectory = folder ?? TestData.Root,
        };

        // What this process was told about its own build does not concern another's.
        start.Environment["MSBUILDDISABLENODEREUSE"] = "1";
        start.Environment["DOTNET_CLI_TELEMETRY_OPTOUT"] = "1";
        start.Environment["DOTNET_NOLOGO"] = "1";
        start.Environment["PATH"] += ":/usr/sbin:/sbin";
        foreach ((string name, string value) in environment ?? new Dictionary<string, string>())
            start.Environment[name] = value;
        using Process process = Process.Start(start)!;
        Task<string> errors = process.StandardError.ReadToEndAsync();
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return new Finished($"{program} {string.Join(' ', arguments)}", process.ExitCode, output, errors.GetAwaiter().GetResult());
    }

    /// <summary>True where a program is installed.</summary>
    public static bool Has(string program) => Run("sh", "-c", $"command -v {program}").Code == 0;

    /// <summary>Skips the calling test, by name, where a program is missing.</summary>
    public static void Need(params string[] programs)
    {
        foreach (string program in programs)
        {
            if (!Has(program))
                Assert.Ignore($"there is no {program}");
        }
    }
}

/// <summary>What a program left.</summary>
internal sealed record Finished(string Command, int Code, string Output, string Errors)
{
    /// <summary>What it wrote to standard output; fails the test where it did not succeed.</summary>
    public string Succeeded()
    {
        Assert.That(Code, Is.Zero, $"{Command}\n{Output}\n{Errors}");
        return Output;
    }
}
