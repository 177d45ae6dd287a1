using System.Runtime.InteropServices;
using ParVts.Engine.Imaging.Jpeg;
using ParVts.Engine.Imaging.WebP;

namespace ParVts.Engine.Imaging;

/// <summary>
/// The native codecs: each is looked for once, when it is first needed, under all the names that systems give it, and stays
/// open for the life of the process. Nothing links at build time. Any thread.
/// </summary>
internal sealed class CodecLibraries
{
    private readonly Func<string, nint> _open;
    private readonly Lazy<TurboJpeg?> _turboJpeg;
    private readonly Lazy<LibWebP?> _webP;

    /// <summary>Takes what opens a library by name: its handle, or 0 where there is none.</summary>
    public CodecLibraries(Func<string, nint> open)
    {
        _open = open;
        _turboJpeg = new Lazy<TurboJpeg?>(() => Find(TurboJpeg.Names, TurboJpeg.Symbols) is { } found ? new TurboJpeg(found) : null);
        _webP = new Lazy<LibWebP?>(() => Find(LibWebP.Names, LibWebP.Symbols) is { } found ? new LibWebP(found) : null);
    }

    /// <summary>The libraries that are installed.</summary>
    public static CodecLibraries System { get; } = new(static name => NativeLibrary.TryLoad(name, out nint handle) ? handle : 0);

    /// <summary>libturbojpeg, or null where it is missing.</summary>
    public TurboJpeg? TurboJpegOrNull => _turboJpeg.Value;

    /// <summary>libwebp, or null where it is missing.</summary>
    public LibWebP? WebPOrNull => _webP.Value;

    /// <summary>libturbojpeg.</summary>
    /// <exception cref="MissingLibraryException">It is not installed.</exception>
    public TurboJpeg TurboJpeg => TurboJpegOrNull ?? throw Missing("libturbojpeg", "JPEG", TurboJpeg.Names, TurboJpeg.Hint);

    /// <summary>libwebp.</summary>
    /// <exception cref="MissingLibraryException">It is not installed.</exception>
    public LibWebP WebP => WebPOrNull ?? throw Missing("libwebp", "WebP", LibWebP.Names, LibWebP.Hint);

    private static MissingLibraryException Missing(string library, string pictures, IReadOnlyList<string> names, string hint) =>
        new(library, $"is needed to read {pictures} pictures and was not found (looked for {string.Join(", ", names)}).", $"Install it: {hint}");

    private NativeExports? Find(IReadOnlyList<string> names, IReadOnlyList<string> symbols)
    {
        foreach (string name in names)
        {
            nint handle = _open(name);
            nint[] addresses = new nint[symbols.Count];
            bool complete = handle != 0;
            for (int i = 0; complete && i < addresses.Length; i++)
                complete = NativeLibrary.TryGetExport(handle, symbols[i], out addresses[i]);
            if (complete)
                return new NativeExports(name, handle, addresses);
        }

        return null;
    }
}

/// <summary>A library that was found: the name it was opened by, its handle, and the addresses of the symbols asked for, in their order.</summary>
internal sealed record NativeExports(string Name, nint Handle, nint[] Addresses);
