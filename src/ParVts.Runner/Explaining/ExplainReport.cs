using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using ParVts.Engine.Imaging;
using ParVts.Engine.Imaging.Png;

namespace ParVts.Runner.Explaining;

/// <summary>
/// Writes the page: report.html with its style, its scripts and its data put in. It is one file that asks nothing of a
/// network. Its content security policy allows just its own scripts, named by their hash.
/// </summary>
internal static class ExplainReport
{
    private static readonly string[] Scripts = ["report-data.js", "report-picture.js", "report-text.js", "report-main.js"];

    /// <summary>A picture as a data: URI, in the form that the page takes.</summary>
    public static string DataUri(RgbImage image) => "data:image/png;base64," + Convert.ToBase64String(PngWriter.Encode(image));

    /// <summary>Writes the page to a file.</summary>
    /// <exception cref="IOException">The file cannot be written.</exception>
    public static void Save(ExplainData data, string path) => File.WriteAllText(path, ToHtml(data));

    /// <summary>The page.</summary>
    public static string ToHtml(ExplainData data)
    {
        string style = Resource("report.css");
        string script = "'use strict';\n" + string.Concat(Scripts.Select(Resource));
        // The data comes last: what it holds is not searched for the other marks.
        return Resource("report.html")
            .Replace("/*style-hash*/", Hash(style))
            .Replace("/*script-hash*/", Hash(script))
            .Replace("/*style*/", style)
            .Replace("/*script*/", script)
            .Replace("/*data*/", JsonSerializer.Serialize(data, ExplainJson.Default.ExplainData));
    }

    private static string Hash(string text) => "'sha256-" + Convert.ToBase64String(SHA256.HashData(Encoding.UTF8.GetBytes(text))) + "'";

    private static string Resource(string name)
    {
        using Stream stream = typeof(ExplainReport).Assembly.GetManifestResourceStream(name)
            ?? throw new InvalidOperationException($"the program was built without its resource '{name}'");
        using var reader = new StreamReader(stream, Encoding.UTF8);
        // The hash is of what the browser reads, and browsers read every end of line as \n.
        return reader.ReadToEnd().ReplaceLineEndings("\n");
    }
}
