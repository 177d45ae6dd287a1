using ParVts.Engine.Imaging.Jpeg;
using ParVts.Engine.Imaging.WebP;

namespace ParVts.Engine.Imaging;

/// <summary>What is known of a native codec.</summary>
/// <param name="Library">The library.</param>
/// <param name="Reads">The pictures that need it.</param>
/// <param name="Found">True where it is installed and has all that is needed.</param>
/// <param name="LoadedAs">The name under which it was found, or null.</param>
/// <param name="Version">Its version as far as it tells, or null.</param>
/// <param name="Install">The line to type where it is missing.</param>
public sealed record CodecStatus(string Library, string Reads, bool Found, string? LoadedAs, string? Version, string Install);

/// <summary>Tells which native codecs are installed. Any thread.</summary>
public static class NativeCodecs
{
    /// <summary>Looks for every native codec.</summary>
    public static CodecStatus[] Probe() => Probe(CodecLibraries.System);

    internal static CodecStatus[] Probe(CodecLibraries libraries)
    {
        TurboJpeg? jpeg = libraries.TurboJpegOrNull;
        LibWebP? webP = libraries.WebPOrNull;
        return
        [
            new CodecStatus("libturbojpeg", "JPEG", jpeg is not null, jpeg?.Name, jpeg?.Version, TurboJpeg.Hint),
            new CodecStatus("libwebp", "WebP", webP is not null, webP?.Name, webP?.Version, LibWebP.Hint),
        ];
    }
}
