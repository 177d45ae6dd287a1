using System.Runtime.InteropServices;

namespace ParVts.Engine.Imaging.WebP;

/// <summary>libwebp's decoder. Any thread.</summary>
internal sealed unsafe class LibWebP
{
    public const string Hint = "apt-get install libwebp7";

    // WEBP_DECODER_ABI_VERSION; the library compares the upper byte.
    private const int AbiVersion = 0x0200;

    private readonly NativeExports _exports;
    private readonly delegate* unmanaged[Cdecl]<byte*, nuint, Features*, int, int> _features;
    private readonly delegate* unmanaged[Cdecl]<byte*, nuint, byte*, nuint, int, byte*> _decodeRgb;
    private readonly delegate* unmanaged[Cdecl]<byte*, nuint, byte*, nuint, int, byte*> _decodeRgba;
    private readonly delegate* unmanaged[Cdecl]<int> _version;

    public LibWebP(NativeExports exports)
    {
        _exports = exports;
        nint[] at = exports.Addresses;
        _features = (delegate* unmanaged[Cdecl]<byte*, nuint, Features*, int, int>)at[0];
        _decodeRgb = (delegate* unmanaged[Cdecl]<byte*, nuint, byte*, nuint, int, byte*>)at[1];
        _decodeRgba = (delegate* unmanaged[Cdecl]<byte*, nuint, byte*, nuint, int, byte*>)at[2];
        _version = (delegate* unmanaged[Cdecl]<int>)at[3];
    }

    public static string[] Names { get; } =
        ["libwebp.so.7", "libwebp.so.6", "libwebp.so", "libwebp.7.dylib", "libwebp.dylib", "libwebp.dll", "webp.dll"];

    public static string[] Symbols { get; } =
        ["WebPGetFeaturesInternal", "WebPDecodeRGBInto", "WebPDecodeRGBAInto", "WebPGetDecoderVersion"];

    public string Name => _exports.Name;

    public string Version
    {
        get
        {
            int version = _version();
            return $"{version >> 16}.{(version >> 8) & 255}.{version & 255}";
        }
    }

    /// <summary>The size, whether there is alpha, and whether the picture moves; an error where the header is damaged.</summary>
    public (int Width, int Height, bool HasAlpha, bool Animated) ReadFeatures(ReadOnlySpan<byte> data)
    {
        Features features;
        int status;
        fixed (byte* source = data)
            status = _features(source, (nuint)data.Length, &features, AbiVersion);
        if (status != 0)
            throw WebPReader.Error($"the header is damaged or cut short (libwebp's status {status}).");
        return (features.Width, features.Height, features.HasAlpha != 0, features.HasAnimation != 0);
    }

    /// <summary>Decodes to RGB or RGBA.</summary>
    public byte[] Decode(ReadOnlySpan<byte> data, int width, int height, bool alpha)
    {
        int channels = alpha ? 4 : 3;
        byte[] pixels = new byte[width * height * channels];
        fixed (byte* source = data, target = pixels)
        {
            byte* done = alpha
                ? _decodeRgba(source, (nuint)data.Length, target, (nuint)pixels.Length, width * channels)
                : _decodeRgb(source, (nuint)data.Length, target, (nuint)pixels.Length, width * channels);
            if (done == null)
                throw WebPReader.Error("the pixels are damaged or cut short.");
        }

        return pixels;
    }

    // WebPBitstreamFeatures: five ints and five words of padding.
    [StructLayout(LayoutKind.Sequential, Size = 40)]
    private struct Features
    {
        public int Width;
        public int Height;
        public int HasAlpha;
        public int HasAnimation;
        public int Format;
    }
}
