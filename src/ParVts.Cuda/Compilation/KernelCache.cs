using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;

namespace ParVts.Cuda.Compilation;

/// <summary>
/// Compiled kernels on disk (contract G7). An entry's name is a hash of everything that its bytes follow from: source, headers,
/// options, architecture and NVRTC's version. A lock keeps two processes from compiling the same kernel at once; a damaged
/// entry is compiled again, never trusted; a folder that cannot be written costs only time. Any thread.
/// </summary>
public sealed class KernelCache
{
    private const uint Magic = 0x4B56_5031; // "1PVK"
    private const int HashBytes = 32;

    // EWOULDBLOCK and ERROR_SHARING_VIOLATION: somebody holds the lock. A folder that cannot be written is another matter.
    private const int HeldOnLinux = 11;
    private const int HeldOnMacOs = 35;
    private const int HeldOnWindows = unchecked((int)0x80070020);
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(60);

    private readonly KernelCompiler _compiler;
    private readonly string _folder;
    private readonly Action<string>? _warning;
    private int _warned;

    /// <summary>A cache in a folder; it is made where it is not there.</summary>
    /// <param name="compiler">Compiles what is missing.</param>
    /// <param name="folder">The folder.</param>
    /// <param name="warning">Is told once where the folder cannot be written.</param>
    public KernelCache(KernelCompiler compiler, string folder, Action<string>? warning = null)
    {
        _compiler = compiler;
        _folder = folder;
        _warning = warning;
    }

    /// <summary>Kernels that were compiled rather than read.</summary>
    public int Compiled => _compiled;

    private int _compiled;

    /// <summary>The user's own folder: XDG_CACHE_HOME, else ~/.cache, on Linux; LOCALAPPDATA on Windows.</summary>
    public static string DefaultFolder
    {
        get
        {
            string? root = OperatingSystem.IsWindows()
                ? Environment.GetFolderPath(Environment.SpecialFolder.LocalApplicationData)
                : Environment.GetEnvironmentVariable("XDG_CACHE_HOME");
            if (string.IsNullOrEmpty(root))
                root = Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".cache");
            return Path.Combine(root, "parvts", "kernels");
        }
    }

    /// <summary>The compiled kernel: from disk, or compiled and put there.</summary>
    /// <exception cref="KernelCompileException">It does not compile.</exception>
    public CompiledKernel Get(KernelSource source, KernelTarget target)
    {
        // A profiler wants the sources, whether or not the kernel is compiled today.
        if (target.SourceFolder is string folder)
            source.WriteTo(folder);
        string path = Path.Combine(_folder, $"{Path.GetFileNameWithoutExtension(source.Name)}-sm{target.Architecture}-{Key(source, target)}.bin");
        if (TryRead(path) is CompiledKernel found)
            return found;
        FileStream held;
        try
        {
            Directory.CreateDirectory(_folder);
            held = Lock(path + ".lock");
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            Warn(error);
            return Compile(source, target);
        }

        // Somebody else may have been faster while we waited.
        using (held)
            return TryRead(path) ?? CompileAndWrite(source, target, path);
    }

    private CompiledKernel CompileAndWrite(KernelSource source, KernelTarget target, string path)
    {
        CompiledKernel compiled = Compile(source, target);
        string partial = $"{path}.{Guid.NewGuid():N}.partial";
        try
        {
            File.WriteAllBytes(partial, Serialize(compiled));
            File.Move(partial, path, overwrite: true);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            // A full disk, say: half an entry must not stay, and what was compiled is as good.
            Warn(error);
            File.Delete(partial);
        }

        return compiled;
    }

    private void Warn(Exception error)
    {
        if (Interlocked.Exchange(ref _warned, 1) == 0)
            _warning?.Invoke($"compiled kernels cannot be kept in {_folder} ({error.Message}): they are compiled at every start");
    }

    private CompiledKernel Compile(KernelSource source, KernelTarget target)
    {
        Interlocked.Increment(ref _compiled);
        return _compiler.Compile(source, target);
    }

    private string Key(KernelSource source, KernelTarget target)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        Add(_compiler.Version.ToString());
        Add(source.Name);
        Add(source.Text);
        foreach ((string name, string text) in source.Headers.OrderBy(pair => pair.Key, StringComparer.Ordinal))
        {
            Add(name);
            Add(text);
        }

        foreach (string option in target.Options(virtualOnly: target.PtxOnly))
            Add(option);
        return Convert.ToHexStringLower(hash.GetHashAndReset().AsSpan(0, 16));

        // The length goes in too, so that no two lists of texts run together to the same bytes.
        void Add(string text)
        {
            byte[] bytes = Encoding.UTF8.GetBytes(text);
            Span<byte> length = stackalloc byte[sizeof(int)];
            BinaryPrimitives.WriteInt32LittleEndian(length, bytes.Length);
            hash.AppendData(length);
            hash.AppendData(bytes);
        }
    }

    private static FileStream Lock(string path)
    {
        DateTime end = DateTime.UtcNow + s_patience;
        while (true)
        {
            try
            {
                return new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None, 1, FileOptions.DeleteOnClose);
            }
            catch (IOException error) when (error.HResult is HeldOnLinux or HeldOnMacOs or HeldOnWindows && DateTime.UtcNow < end)
            {
                Thread.Sleep(20);
            }
        }
    }

    private static byte[] Serialize(CompiledKernel kernel)
    {
        using var stream = new MemoryStream();
        using var writer = new BinaryWriter(stream);
        writer.Write(Magic);
        foreach (byte[] part in new[] { Encoding.UTF8.GetBytes(kernel.Ptx), kernel.Cubin, Encoding.UTF8.GetBytes(kernel.Log) })
        {
            writer.Write(part.Length);
            writer.Write(part);
        }

        writer.Flush();
        writer.Write(SHA256.HashData(stream.ToArray()));
        return stream.ToArray();
    }

    private static CompiledKernel? TryRead(string path)
    {
        byte[] bytes;
        try
        {
            bytes = File.ReadAllBytes(path);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            return null;
        }

        if (bytes.Length < HashBytes + 4 * sizeof(int))
            return null;
        ReadOnlySpan<byte> body = bytes.AsSpan(0, bytes.Length - HashBytes);
        if (BinaryPrimitives.ReadUInt32LittleEndian(body) != Magic || !SHA256.HashData(body).AsSpan().SequenceEqual(bytes.AsSpan(body.Length)))
            return null;
        using var reader = new BinaryReader(new MemoryStream(bytes, sizeof(uint), body.Length - sizeof(uint)));
        string ptx = Encoding.UTF8.GetString(reader.ReadBytes(reader.ReadInt32()));
        byte[] cubin = reader.ReadBytes(reader.ReadInt32());
        return new CompiledKernel(ptx, cubin, Encoding.UTF8.GetString(reader.ReadBytes(reader.ReadInt32())));
    }
}
