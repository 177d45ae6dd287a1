using System.Diagnostics;

namespace ParVts.Native.Tests;

/// <summary>What <c>./build.sh native</c> makes, and programs that use it. Where it was not made, the calling test is skipped, by name.</summary>
internal static class NativeLibraryFiles
{
    /// <summary>The folder of the library and its header.</summary>
    public static string Folder { get; } = Path.Combine(TestData.Root, "artifacts", "native");

    /// <summary>The library that hosts load.</summary>
    public static string Library
    {
        get
        {
            string file = Path.Combine(Folder, "libparvts.so");
            if (!File.Exists(file))
                Assert.Ignore($"the C library is not there ({file}); './build.sh native' makes it");
            return file;
        }
    }

    /// <summary>Compiles a C program against it; every warning is an error.</summary>
    public static string Compile(string source, string name)
    {
        string program = Path.Combine(Path.GetDirectoryName(Library)!, name);
        Finished compiled = Run(
            "cc", "-std=c11", "-g", "-Wall", "-Wextra", "-Werror", "-I" + Path.GetDirectoryName(Header.Path), source, "-o", program, "-L" + Folder, "-lparvts",
            "-Wl,-rpath," + Folder, "-pthread", "-lm", "-ldl");
        Assert.That(compiled.Code, Is.Zero, compiled.Errors);
        return program;
    }

    /// <summary>Compiles a host of clients/ to a library that this process loads; every warning is an error.</summary>
    public static string CompileShared(string name)
    {
        if (!Has("cc"))
            Assert.Ignore("there is no C compiler");
        string library = Path.Combine(Path.GetTempPath(), $"parvts-{name}-{Environment.ProcessId}.so");
        string source = Client(name + ".c");
        Finished compiled = Run(
            "cc", "-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-fvisibility=hidden", "-I" + Path.GetDirectoryName(Header.Path), source, "-o", library);
        Assert.That(compiled.Code, Is.Zero, compiled.Errors);
        return library;
    }

    /// <summary>A file of clients/.</summary>
    public static string Client(string file) => Path.Combine(TestData.Root, "tests", "ParVts.Native.Tests", "clients", file);

    /// <summary>Compiles a client of clients/ against the library.</summary>
    public static string CompileClient(string name) => Compile(Client(name + ".c"), name);

    /// <summary>Runs a program to its end.</summary>
    public static Finished Run(string program, params string[] arguments)
    {
        var start = new ProcessStartInfo(program, arguments) { UseShellExecute = false, RedirectStandardOutput = true, RedirectStandardError = true };
        using Process process = Process.Start(start)!;
        Task<string> errors = process.StandardError.ReadToEndAsync();
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return new Finished(process.ExitCode, output, errors.GetAwaiter().GetResult());
    }

    /// <summary>True where a program is installed.</summary>
    public static bool Has(string program) => Run("sh", "-c", $"command -v {program}").Code == 0;
}

/// <summary>What a program left.</summary>
internal sealed record Finished(int Code, string Output, string Errors);
