using System.Runtime.InteropServices;
using System.Text;
using ParVts.Cuda.Native;

namespace ParVts.Cuda.Compilation;

/// <summary>Compiles kernels with NVRTC: no GPU, no driver and no headers on disk are needed (contract G5, G6). Any thread.</summary>
public sealed unsafe class KernelCompiler
{
    // How many lines of source stand round the one that a message speaks of.
    private const int ContextLines = 2;

    private readonly NvrtcApi _api;

    /// <summary>A compiler over a table of NVRTC's functions.</summary>
    public KernelCompiler(NvrtcApi api)
    {
        _api = api;
        int major;
        int minor;
        api.Check(api.Version(&major, &minor), "nvrtcVersion");
        Version = new Version(major, minor);
        int count;
        api.Check(api.GetNumSupportedArchs(&count), "nvrtcGetNumSupportedArchs");
        int[] architectures = new int[count];
        fixed (int* place = architectures)
            api.Check(api.GetSupportedArchs(place), "nvrtcGetSupportedArchs");
        Architectures = architectures;
    }

    /// <summary>NVRTC's version.</summary>
    public Version Version { get; }

    /// <summary>Architectures that it makes machine code for.</summary>
    public IReadOnlyList<int> Architectures { get; }

    /// <summary>Compiles a file to PTX and, where the compiler knows the architecture, to machine code.</summary>
    /// <param name="source">The file.</param>
    /// <param name="target">What for.</param>
    /// <exception cref="KernelCompileException">It does not compile; the log holds the lines.</exception>
    /// <exception cref="IOException">The target's folder for sources cannot be written.</exception>
    public CompiledKernel Compile(KernelSource source, KernelTarget target)
    {
        if (target.SourceFolder is string folder)
        {
            // The program's name and its headers' become paths, which is what the machine code names to a profiler.
            source.WriteTo(folder);
            string Place(string name) => Path.GetFullPath(Path.Combine(folder, name));
            source = new KernelSource(Place(source.Name), source.Text, source.Headers.ToDictionary(header => Place(header.Key), header => header.Value));
        }

        // An architecture that is newer than the compiler gets PTX of the newest that it knows; the driver does the rest.
        bool known = Architectures.Contains(target.Architecture);
        KernelTarget virtualTarget = known ? target : target with { Architecture = Newest(target.Architecture) };
        if (!known || target.PtxOnly)
        {
            Output plain = Run(source, virtualTarget.Options(virtualOnly: true), wantCubin: false);
            return new CompiledKernel(Text(plain.Ptx), [], plain.Log);
        }

        List<string> options = target.Options(virtualOnly: false);
        options.Add("--ptxas-options=-v");
        Output output = Run(source, options, wantCubin: true);

        // Machine code is made from PTX, which NVRTC keeps; a version that did not would be asked once more.
        byte[] ptx = output.Ptx.Length > 0 ? output.Ptx : Run(source, target.Options(virtualOnly: true), wantCubin: false).Ptx;
        return new CompiledKernel(Text(ptx), output.Cubin, output.Log);
    }

    private int Newest(int architecture)
    {
        int[] older = [.. Architectures.Where(one => one < architecture)];
        return older.Length > 0
            ? older.Max()
            : throw new CudaException(
                "nvrtcCompileProgram", 0, $"sm_{architecture} is not known", $"NVRTC {Version} compiles for sm_{Architectures.Min()} to sm_{Architectures.Max()}");
    }

    private Output Run(KernelSource source, List<string> options, bool wantCubin)
    {
        using var strings = new NativeStrings();
        nint program;
        byte** headers = strings.Add([.. source.Headers.Values]);
        byte** names = strings.Add([.. source.Headers.Keys]);
        _api.Check(
            _api.CreateProgram(&program, strings.Add(source.Text), strings.Add(source.Name), source.Headers.Count, headers, names),
            "nvrtcCreateProgram");
        try
        {
            int result = _api.CompileProgram(program, options.Count, strings.Add([.. options]));
            string log = Text(Read(program, _api.GetProgramLogSize, _api.GetProgramLog, "nvrtcGetProgramLog"));

            // 6: the program itself is wrong; all else is the compiler's trouble.
            if (result == 6)
                throw new KernelCompileException(source.Name, WithSource(source, log));
            _api.Check(result, $"nvrtcCompileProgram ({source.Name}, {string.Join(' ', options)})");
            nuint ptxSize;
            bool keepsPtx = !wantCubin || (_api.GetPtxSize(program, &ptxSize) == 0 && ptxSize > 1);
            return new Output(
                keepsPtx ? Read(program, _api.GetPtxSize, _api.GetPtx, "nvrtcGetPTX") : [],
                wantCubin ? Read(program, _api.GetCubinSize, _api.GetCubin, "nvrtcGetCUBIN") : [],
                log);
        }
        finally
        {
            _ = _api.DestroyProgram(&program);
        }
    }

    private byte[] Read(nint program, delegate* unmanaged<nint, nuint*, int> size, delegate* unmanaged<nint, byte*, int> get, string call)
    {
        nuint length;
        _api.Check(size(program, &length), call + "Size");
        byte[] bytes = new byte[(int)length];
        fixed (byte* place = bytes)
        {
            if (bytes.Length > 0)
                _api.Check(get(program, place), call);
        }

        return bytes;
    }

    private static string Text(byte[] bytes) => Encoding.UTF8.GetString(bytes.AsSpan().TrimEnd((byte)0));

    // NVRTC says "norm.cu(12): error: …"; the lines themselves are in memory only, so they are put beside it.
    private static string WithSource(KernelSource source, string log)
    {
        var text = new StringBuilder();
        foreach (string message in log.Split('\n'))
        {
            text.AppendLine(message);
            int open = message.IndexOf('(', StringComparison.Ordinal);
            int close = open < 0 ? -1 : message.IndexOf(')', open);
            if (close < 0 || !int.TryParse(message.AsSpan(open + 1, close - open - 1), out int line))
                continue;
            string file = message[..open];
            string? content = file == source.Name ? source.Text : source.Headers.GetValueOrDefault(file);
            if (content is null)
                continue;
            string[] lines = content.Split('\n');
            for (int i = Math.Max(1, line - ContextLines); i <= Math.Min(lines.Length, line + ContextLines); i++)
                text.AppendLine($"  {(i == line ? '>' : ' ')} {i,4} | {lines[i - 1].TrimEnd('\r')}");
        }

        return text.ToString().TrimEnd();
    }

    private readonly record struct Output(byte[] Ptx, byte[] Cubin, string Log);

    /// <summary>Strings in native memory for the length of a call.</summary>
    private sealed class NativeStrings : IDisposable
    {
        private readonly List<nint> _blocks = [];

        public byte* Add(string text)
        {
            nint block = Marshal.StringToCoTaskMemUTF8(text);
            _blocks.Add(block);
            return (byte*)block;
        }

        public byte** Add(string[] texts)
        {
            nint block = Marshal.AllocCoTaskMem(Math.Max(1, texts.Length) * sizeof(nint));
            _blocks.Add(block);
            for (int i = 0; i < texts.Length; i++)
                ((byte**)block)[i] = Add(texts[i]);
            return (byte**)block;
        }

        public void Dispose()
        {
            foreach (nint block in _blocks)
                Marshal.FreeCoTaskMem(block);
        }
    }
}
