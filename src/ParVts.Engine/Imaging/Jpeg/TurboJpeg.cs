using System.Runtime.InteropServices;

namespace ParVts.Engine.Imaging.Jpeg;

/// <summary>The TurboJPEG C API, as versions 1.5 to 3 of libjpeg-turbo have it. Any thread: each call makes its own handle.</summary>
internal sealed unsafe class TurboJpeg
{
    public const string Hint = "apt-get install libturbojpeg0 (Ubuntu: libturbojpeg)";

    // TJPF_RGB, TJPF_CMYK; TJCS_CMYK, TJCS_YCCK.
    private const int PixelRgb = 0, PixelCmyk = 11, SpaceCmyk = 3, SpaceYcck = 4;

    // Stops after 500 scans (since 2.1; unknown before). None of the flags that trade exactness for speed.
    private const int FlagLimitScans = 32768;

    private readonly NativeExports _exports;
    private readonly delegate* unmanaged[Cdecl]<nint> _open;
    private readonly delegate* unmanaged[Cdecl]<nint, byte*, CULong, int*, int*, int*, int*, int> _header;
    private readonly delegate* unmanaged[Cdecl]<nint, byte*, CULong, byte*, int, int, int, int, int, int> _decode;
    private readonly delegate* unmanaged[Cdecl]<nint, nint> _error;
    private readonly delegate* unmanaged[Cdecl]<nint, int> _errorCode;
    private readonly delegate* unmanaged[Cdecl]<nint, int> _close;

    public TurboJpeg(NativeExports exports)
    {
        _exports = exports;
        nint[] at = exports.Addresses;
        _open = (delegate* unmanaged[Cdecl]<nint>)at[0];
        _header = (delegate* unmanaged[Cdecl]<nint, byte*, CULong, int*, int*, int*, int*, int>)at[1];
        _decode = (delegate* unmanaged[Cdecl]<nint, byte*, CULong, byte*, int, int, int, int, int, int>)at[2];
        _error = (delegate* unmanaged[Cdecl]<nint, nint>)at[3];
        _errorCode = (delegate* unmanaged[Cdecl]<nint, int>)at[4];
        _close = (delegate* unmanaged[Cdecl]<nint, int>)at[5];
    }

    public static string[] Names { get; } = ["libturbojpeg.so.0", "libturbojpeg.so", "libturbojpeg.dylib", "turbojpeg.dll", "libturbojpeg.dll"];

    public static string[] Symbols { get; } =
        ["tjInitDecompress", "tjDecompressHeader3", "tjDecompress2", "tjGetErrorStr2", "tjGetErrorCode", "tjDestroy"];

    public string Name => _exports.Name;

    // The library does not tell its version; version 3 has functions that 2 lacks.
    public string Version => NativeLibrary.TryGetExport(_exports.Handle, "tj3Init", out _) ? "3.x" : "2.x";

    /// <summary>
    /// Decodes to RGB, or to CMYK where the picture is stored so (four bytes a pixel, inverted as Adobe's are).
    /// A warning is what the library says of damage that it could read past.
    /// </summary>
    public (byte[] Pixels, int Width, int Height, bool Cmyk, string? Warning) Decode(ReadOnlySpan<byte> data, ImageLimits limits)
    {
        nint handle = _open();
        if (handle == 0)
            throw JpegReader.Error("libturbojpeg could not start a decoder: it is out of memory.");
        try
        {
            fixed (byte* source = data)
            {
                int width, height, subsampling, space;
                if (_header(handle, source, new CULong((uint)data.Length), &width, &height, &subsampling, &space) != 0 && IsFatal(handle))
                    throw JpegReader.Error(Message(handle));
                limits.CheckSize(JpegReader.Format, width, height);
                bool cmyk = space is SpaceCmyk or SpaceYcck;
                int channels = cmyk ? 4 : 3;
                byte[] pixels = new byte[width * height * channels];
                string? warning = null;
                fixed (byte* target = pixels)
                {
                    int format = cmyk ? PixelCmyk : PixelRgb;
                    if (_decode(handle, source, new CULong((uint)data.Length), target, width, width * channels, height, format, FlagLimitScans) != 0)
                        warning = IsFatal(handle) ? throw JpegReader.Error(Message(handle)) : Message(handle);
                }

                return (pixels, width, height, cmyk, warning);
            }
        }
        finally
        {
            _ = _close(handle);
        }
    }

    // TJERR_FATAL; TJERR_WARNING is 0.
    private bool IsFatal(nint handle) => _errorCode(handle) != 0;

    private string Message(nint handle) => Marshal.PtrToStringUTF8(_error(handle)) ?? "the file is damaged.";
}
