using System.Globalization;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;
using System.Xml.Linq;
using ParVts.Engine;
using ParVts.Engine.Imaging;

namespace ParVts.Runner.Output;

/// <summary>Pixels of an SVG on white, drawn by librsvg through cairo; both are looked for when they are first needed. Any thread.</summary>
internal static unsafe class SvgRasterizer
{
    private const string Rsvg = "librsvg-2";
    private const string Cairo = "libcairo";
    private const string GObject = "libgobject-2.0";

    /// <summary>What to type where a library is missing.</summary>
    public const string Hint = "apt-get install librsvg2-2 fonts-dejavu-core";

    // CAIRO_FORMAT_RGB24: four bytes a pixel, the upper one unused, in the machine's order of bytes.
    private const int Rgb24 = 1;
    private const int BytesPerPixel = 4;

    private static readonly Dictionary<string, string[]> s_names = new(StringComparer.Ordinal)
    {
        [Rsvg] = ["librsvg-2.so.2", "librsvg-2.2.dylib", "librsvg-2-2.dll"],
        [Cairo] = ["libcairo.so.2", "libcairo.2.dylib", "libcairo-2.dll"],
        [GObject] = ["libgobject-2.0.so.0", "libgobject-2.0.0.dylib", "libgobject-2.0-0.dll"],
    };

    private static readonly Lazy<Exports?> s_exports = new(Find);

    /// <summary>The name under which librsvg was found, or null where it or cairo is missing.</summary>
    public static string? LoadedAs => s_exports.Value?.Name;

    /// <summary>Looks for the libraries.</summary>
    /// <exception cref="MissingLibraryException">One of them is not installed.</exception>
    public static void Require() => _ = Loaded();

    /// <summary>Draws.</summary>
    /// <param name="svg">The document; its view box says how large it is.</param>
    /// <param name="scale">Pixels for one of its units.</param>
    /// <exception cref="MissingLibraryException">A library is not installed.</exception>
    /// <exception cref="InvalidOperationException">librsvg cannot read the document, or cairo has no memory for its pixels.</exception>
    public static RgbImage Draw(string svg, int scale)
    {
        Exports exports = Loaded();
        (int width, int height) = SizeOf(svg);
        var image = new RgbImage(width * scale, height * scale);
        byte[] document = Encoding.UTF8.GetBytes(svg);
        nint handle = 0, surface = 0, canvas = 0;
        try
        {
            fixed (byte* data = document)
                handle = exports.Open(data, (nuint)document.Length, null);
            if (handle == 0)
                throw new InvalidOperationException("librsvg cannot read the plot.");
            surface = exports.CreateSurface(Rgb24, image.Width, image.Height);
            canvas = exports.CreateCanvas(surface);
            exports.SetColor(canvas, 1, 1, 1);
            exports.Paint(canvas);
            var box = new Rectangle(0, 0, image.Width, image.Height);
            bool drawn = exports.Render(handle, canvas, &box, null) != 0;
            exports.Flush(surface);
            byte* pixels = exports.Pixels(surface);
            if (!drawn || pixels == null)
                throw new InvalidOperationException($"librsvg cannot draw {image.Width} × {image.Height} pixels.");
            Copy(pixels, exports.Stride(surface), image);
        }
        finally
        {
            if (canvas != 0)
                exports.DestroyCanvas(canvas);
            if (surface != 0)
                exports.DestroySurface(surface);
            if (handle != 0)
                exports.Release(handle);
        }

        return image;
    }

    private static void Copy(byte* pixels, int stride, RgbImage image)
    {
        Span<byte> target = image.Pixels;
        for (int y = 0, at = 0; y < image.Height; y++)
        {
            for (int x = 0; x < image.Width; x++, at += 3)
            {
                uint pixel = Unsafe.ReadUnaligned<uint>(pixels + (long)y * stride + x * BytesPerPixel);
                target[at] = (byte)(pixel >> 16);
                target[at + 1] = (byte)(pixel >> 8);
                target[at + 2] = (byte)pixel;
            }
        }
    }

    private static (int Width, int Height) SizeOf(string svg)
    {
        string box = (string?)XDocument.Parse(svg).Root!.Attribute("viewBox") ?? throw new InvalidOperationException("A plot has no view box.");
        string[] numbers = box.Split(' ');
        return (int.Parse(numbers[2], CultureInfo.InvariantCulture), int.Parse(numbers[3], CultureInfo.InvariantCulture));
    }

    private static Exports Loaded() => s_exports.Value ?? throw new MissingLibraryException(
        "librsvg",
        $"is needed, with cairo and a font, to write plots as PNG and was not found (looked for {string.Join(", ", s_names.Values.SelectMany(names => names))}).",
        $"Install it ({Hint}), or name a file that ends in .svg.");

    private static Exports? Find()
    {
        (string name, nint rsvg) = Open(Rsvg);
        nint cairo = Open(Cairo).Handle;
        nint gobject = Open(GObject).Handle;
        var found = new Exports(name);
        return rsvg != 0 && cairo != 0 && gobject != 0 && found.Load(rsvg, cairo, gobject) ? found : null;
    }

    private static (string Name, nint Handle) Open(string library)
    {
        foreach (string name in s_names[library])
        {
            if (NativeLibrary.TryLoad(name, out nint handle))
                return (name, handle);
        }

        return ("", 0);
    }

    // RsvgRectangle.
    private readonly record struct Rectangle(double X, double Y, double Width, double Height);

    private sealed class Exports(string name)
    {
        /// <summary>The name under which librsvg was found.</summary>
        public string Name => name;

        public delegate* unmanaged[Cdecl]<byte*, nuint, void**, nint> Open { get; private set; }

        public delegate* unmanaged[Cdecl]<nint, nint, Rectangle*, void**, int> Render { get; private set; }

        public delegate* unmanaged[Cdecl]<int, int, int, nint> CreateSurface { get; private set; }

        public delegate* unmanaged[Cdecl]<nint, nint> CreateCanvas { get; private set; }

        public delegate* unmanaged[Cdecl]<nint, double, double, double, void> SetColor { get; private set; }

        public delegate* unmanaged[Cdecl]<nint, void> Paint { get; private set; }

        public delegate* unmanaged[Cdecl]<nint, void> Flush { get; private set; }

        public delegate* unmanaged[Cdecl]<nint, byte*> Pixels { get; private set; }

        public delegate* unmanaged[Cdecl]<nint, int> Stride { get; private set; }

        public delegate* unmanaged[Cdecl]<nint, void> DestroyCanvas { get; private set; }

        public delegate* unmanaged[Cdecl]<nint, void> DestroySurface { get; private set; }

        public delegate* unmanaged[Cdecl]<nint, void> Release { get; private set; }

        /// <summary>Fills the table; false where a library is too old to have all of it.</summary>
        public bool Load(nint rsvg, nint cairo, nint gobject)
        {
            bool complete = true;
            Open = (delegate* unmanaged[Cdecl]<byte*, nuint, void**, nint>)Get(rsvg, "rsvg_handle_new_from_data");
            Render = (delegate* unmanaged[Cdecl]<nint, nint, Rectangle*, void**, int>)Get(rsvg, "rsvg_handle_render_document");
            CreateSurface = (delegate* unmanaged[Cdecl]<int, int, int, nint>)Get(cairo, "cairo_image_surface_create");
            CreateCanvas = (delegate* unmanaged[Cdecl]<nint, nint>)Get(cairo, "cairo_create");
            SetColor = (delegate* unmanaged[Cdecl]<nint, double, double, double, void>)Get(cairo, "cairo_set_source_rgb");
            Paint = (delegate* unmanaged[Cdecl]<nint, void>)Get(cairo, "cairo_paint");
            Flush = (delegate* unmanaged[Cdecl]<nint, void>)Get(cairo, "cairo_surface_flush");
            Pixels = (delegate* unmanaged[Cdecl]<nint, byte*>)Get(cairo, "cairo_image_surface_get_data");
            Stride = (delegate* unmanaged[Cdecl]<nint, int>)Get(cairo, "cairo_image_surface_get_stride");
            DestroyCanvas = (delegate* unmanaged[Cdecl]<nint, void>)Get(cairo, "cairo_destroy");
            DestroySurface = (delegate* unmanaged[Cdecl]<nint, void>)Get(cairo, "cairo_surface_destroy");
            Release = (delegate* unmanaged[Cdecl]<nint, void>)Get(gobject, "g_object_unref");
            return complete;

            nint Get(nint library, string name)
            {
                complete &= NativeLibrary.TryGetExport(library, name, out nint address);
                return address;
            }
        }
    }
}
