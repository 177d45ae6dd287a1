using System.Runtime.InteropServices;
using System.Text;

namespace ParVts.GpuSim.Tests;

/// <summary>Compiles this project's kernels with the real NVRTC; where there is none, the test is skipped by name.</summary>
internal static unsafe class Nvrtc
{
    private static readonly nint Library = Find();
    private static readonly Dictionary<string, string> Compiled = [];

    public static string Ptx(string file)
    {
        if (Library == 0)
            Assert.Ignore("no NVRTC here (libnvrtc.so.13, .12 or .11.2)");
        lock (Compiled)
            return Compiled.TryGetValue(file, out string? ptx) ? ptx : Compiled[file] = Compile(file, Source(file));
    }

    public static string Source(string file)
    {
        using StreamReader reader = new(typeof(Nvrtc).Assembly.GetManifestResourceStream(file) ?? throw new FileNotFoundException(file));
        return reader.ReadToEnd();
    }

    private static nint Find()
    {
        foreach (string name in (string[])["libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so.11.2"])
        {
            if (NativeLibrary.TryLoad(name, out nint library))
                return library;
        }
        return 0;
    }

    private static nint Symbol(string name) => NativeLibrary.GetExport(Library, name);

    private static string Compile(string file, string source)
    {
        nint program;
        fixed (byte* text = Encoding.UTF8.GetBytes(source + '\0'), name = Encoding.UTF8.GetBytes(file + '\0'),
            architecture = "--gpu-architecture=compute_80\0"u8, lines = "-lineinfo\0"u8)
        {
            var create = (delegate* unmanaged<nint*, byte*, byte*, int, byte**, byte**, int>)Symbol("nvrtcCreateProgram");
            Assert.That(create(&program, text, name, 0, null, null), Is.Zero);
            byte** options = stackalloc byte*[2] { architecture, lines };
            var compile = (delegate* unmanaged<nint, int, byte**, int>)Symbol("nvrtcCompileProgram");
            int result = compile(program, 2, options);
            if (result != 0)
                Assert.Fail(Text(program, "nvrtcGetProgramLogSize", "nvrtcGetProgramLog"));
        }
        string ptx = Text(program, "nvrtcGetPTXSize", "nvrtcGetPTX");
        _ = ((delegate* unmanaged<nint*, int>)Symbol("nvrtcDestroyProgram"))(&program);
        return ptx;
    }

    private static string Text(nint program, string sizeCall, string textCall)
    {
        nuint size;
        _ = ((delegate* unmanaged<nint, nuint*, int>)Symbol(sizeCall))(program, &size);
        byte[] text = new byte[size];
        fixed (byte* p = text)
            _ = ((delegate* unmanaged<nint, byte*, int>)Symbol(textCall))(program, p);
        return Encoding.UTF8.GetString(text).TrimEnd('\0');
    }
}
