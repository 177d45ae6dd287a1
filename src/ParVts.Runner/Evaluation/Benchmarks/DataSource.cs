using System.Text;
using System.Text.Json;

namespace ParVts.Runner.Evaluation.Benchmarks;

/// <summary>What --data names, a file or a folder, and what it looks like from outside. One thread.</summary>
internal sealed class DataSource
{
    private const int HeadBytes = 64 * 1024;

    private readonly HashSet<string> _outer = [];
    private readonly HashSet<string> _inner = [];

    private DataSource(string path, bool isFolder)
    {
        Path = path;
        IsFolder = isFolder;
        Folder = isFolder ? path : System.IO.Path.GetDirectoryName(path)!;
    }

    /// <summary>The file or folder, in full.</summary>
    public string Path { get; }

    /// <summary>It is a folder.</summary>
    public bool IsFolder { get; }

    /// <summary>The folder, or the one that the file lies in.</summary>
    public string Folder { get; }

    /// <summary>The columns, where the file is a table of cells with tabs between them.</summary>
    public IReadOnlyList<string> Columns { get; private set; } = [];

    /// <summary>The file is a JSON array.</summary>
    public bool IsArray { get; private set; }

    /// <summary>Looks at a file or folder.</summary>
    /// <exception cref="FileNotFoundException">There is none.</exception>
    public static DataSource Open(string path)
    {
        string full = System.IO.Path.GetFullPath(path);
        if (Directory.Exists(full))
            return new DataSource(full, isFolder: true);
        var source = new DataSource(full, isFolder: false);
        byte[] head = new byte[HeadBytes];
        using FileStream stream = File.OpenRead(full);
        source.Look(head.AsSpan(0, stream.ReadAtLeast(head, HeadBytes, throwOnEndOfStream: false)));
        return source;
    }

    /// <summary>The file's first JSON object has all of these members.</summary>
    public bool HasOuter(params ReadOnlySpan<string> names) => Has(_outer, names);

    /// <summary>Objects within the file's JSON value have these members.</summary>
    public bool HasInner(params ReadOnlySpan<string> names) => Has(_inner, names);

    /// <summary>The questions as the LLaVA-1.5 evaluation asks them: prompts without the right answers.</summary>
    public bool IsLlavaQuestions => HasOuter("question_id", "image", "text") && !HasOuter("label");

    /// <summary>
    /// The files that match a pattern in the folder, or else in the first of these folders below it that has any; in order.
    /// </summary>
    public IReadOnlyList<string> Find(string pattern, params ReadOnlySpan<string> below)
    {
        string[] found = FilesIn(Folder, pattern);
        for (int i = 0; i < below.Length && found.Length == 0; i++)
            found = FilesIn(System.IO.Path.Combine(Folder, below[i]), pattern);
        return found;
    }

    /// <summary>The one file that matches; the error says what it is needed for.</summary>
    /// <exception cref="InputFileException">There is none.</exception>
    public string Require(string pattern, string reason, params ReadOnlySpan<string> below)
    {
        IReadOnlyList<string> found = Find(pattern, below);
        return found.Count > 0 ? found[0] : throw new InputFileException(Path, $"{pattern} is not beside it; {reason}");
    }

    private static string[] FilesIn(string folder, string pattern) =>
        Directory.Exists(folder) ? [.. Directory.GetFiles(folder, pattern).Order(StringComparer.Ordinal)] : [];

    private static bool Has(HashSet<string> there, ReadOnlySpan<string> names)
    {
        foreach (string name in names)
        {
            if (!there.Contains(name))
                return false;
        }

        return true;
    }

    private void Look(ReadOnlySpan<byte> head)
    {
        if (head.StartsWith(Encoding.UTF8.Preamble))
            head = head[3..];
        ReadOnlySpan<byte> text = head.TrimStart(" \t\r\n"u8);
        IsArray = text.StartsWith("["u8);
        if (IsArray || text.StartsWith("{"u8))
            LookAtJson(text);
        else if (head.IndexOf((byte)'\n') is int end and > 0)
            Columns = Encoding.UTF8.GetString(head[..end]).TrimEnd('\r').Split('\t');
    }

    // What is wrong with it is said when it is read.
    private void LookAtJson(ReadOnlySpan<byte> text)
    {
        var reader = new Utf8JsonReader(text, isFinalBlock: false, default);
        try
        {
            while (reader.Read() && (reader.CurrentDepth > 0 || reader.TokenType is JsonTokenType.StartObject or JsonTokenType.StartArray))
            {
                if (reader.TokenType == JsonTokenType.PropertyName && reader.CurrentDepth <= 2)
                    (reader.CurrentDepth == 1 ? _outer : _inner).Add(reader.GetString() ?? "");
            }
        }
        catch (Exception error) when (error is JsonException or InvalidOperationException)
        {
            // Judged by what came before.
        }
    }
}
