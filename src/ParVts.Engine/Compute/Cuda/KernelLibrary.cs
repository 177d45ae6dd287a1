using System.Collections.Concurrent;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using ParVts.Cuda;
using ParVts.Cuda.Compilation;

namespace ParVts.Engine.Compute.Cuda;

/// <summary>A macro of a specialisation.</summary>
internal readonly record struct Macro(string Name, int Value);

/// <summary>A kernel of one specialisation of its file. Compares without allocating.</summary>
/// <param name="File">The file: <c>norm.cu</c>.</param>
/// <param name="Entry">The kernel's name.</param>
/// <param name="A">A macro, or default.</param>
/// <param name="B">A macro, or default.</param>
/// <param name="C">A macro, or default.</param>
/// <param name="D">A macro, or default.</param>
internal readonly record struct KernelId(string File, string Entry, Macro A = default, Macro B = default, Macro C = default, Macro D = default)
{
    /// <summary>The macros that are given.</summary>
    public Dictionary<string, string> Definitions()
    {
        var definitions = new Dictionary<string, string>();
        foreach (Macro macro in (ReadOnlySpan<Macro>)[A, B, C, D])
        {
            if (macro.Name is not null)
                definitions[macro.Name] = macro.Value.ToString(CultureInfo.InvariantCulture);
        }

        return definitions;
    }
}

/// <summary>A kernel in a context, its specialisation, and the hash of the PTX that it came from.</summary>
internal sealed class LoadedKernel(CudaKernel kernel, string specialisation, string ptxSha256)
{
    public CudaKernel Kernel => kernel;

    public string Specialisation => specialisation;

    public string PtxSha256 => ptxSha256;
}

/// <summary>
/// The kernels of a context: compiled, or read from the cache, when they are first asked for, and kept as long as the
/// library. Any thread.
/// </summary>
internal sealed class KernelLibrary(CudaContext context, KernelCache cache, CudaOptions options) : IDisposable
{
    private readonly ConcurrentDictionary<KernelId, LoadedKernel> _kernels = new();
    private readonly Dictionary<string, (CudaModule Module, string Hash)> _modules = [];
    private readonly Lock _gate = new();

    /// <summary>The kernel.</summary>
    /// <exception cref="KernelCompileException">It does not compile.</exception>
    /// <exception cref="CudaException">The driver refuses it.</exception>
    public LoadedKernel Get(in KernelId id) => _kernels.TryGetValue(id, out LoadedKernel? kernel) ? kernel : Load(id);

    /// <inheritdoc/>
    public void Dispose()
    {
        lock (_gate)
        {
            foreach ((CudaModule module, _) in _modules.Values)
                module.Dispose();
            _modules.Clear();
            _kernels.Clear();
        }
    }

    private LoadedKernel Load(KernelId id)
    {
        lock (_gate)
        {
            if (_kernels.TryGetValue(id, out LoadedKernel? there))
                return there;
            Dictionary<string, string> definitions = id.Definitions();
            string specialisation = string.Join(' ', definitions.Select(pair => $"{pair.Key}={pair.Value}"));
            string name = id.File + " " + specialisation;
            if (!_modules.TryGetValue(name, out (CudaModule Module, string Hash) loaded))
            {
                var target = KernelCatalog.Target(context.Device.Architecture, id, options);
                CompiledKernel compiled = cache.Get(KernelSources.Get(id.File), target);
                loaded = (new CudaModule(context, compiled), System.Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(compiled.Ptx))));
                _modules[name] = loaded;
            }

            return _kernels[id] = new LoadedKernel(loaded.Module.GetKernel(id.Entry), specialisation, loaded.Hash);
        }
    }
}
