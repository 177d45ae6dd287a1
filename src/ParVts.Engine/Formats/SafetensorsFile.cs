namespace ParVts.Engine.Formats;

/// <summary>
/// An open safetensors file. The header was checked in full before this object exists, so every tensor lies inside the
/// file, has the size that its shape and type ask for, and overlaps no other. Any thread may read; <see cref="Dispose"/>
/// is for one caller, when nobody uses the tensors any more.
/// </summary>
/// <remarks>A file that is cut short by somebody else while it is mapped cannot be read safely; where that may happen, open it with <c>map: false</c>.</remarks>
public sealed unsafe class SafetensorsFile : IDisposable
{
    private readonly FileBytes bytes;

    private SafetensorsFile(string path, FileBytes bytes, long byteLength, int headerLength, SafetensorsHeader header)
    {
        Path = path;
        ByteLength = byteLength;
        Metadata = header.Metadata;
        this.bytes = bytes;

        byte* data = bytes.Address + SafetensorsHeader.PrefixLength + headerLength;
        var tensors = new Dictionary<string, StoredTensor>(header.Entries.Count, StringComparer.Ordinal);
        foreach (SafetensorsHeader.Entry entry in header.Entries.Values)
            tensors.Add(entry.Name, new StoredTensor(entry.Name, entry.Type, entry.Shape, (nint)(data + entry.Begin), entry.End - entry.Begin, path));
        Tensors = tensors;
    }

    /// <summary>The tensors by name; their addresses are valid until <see cref="Dispose"/>.</summary>
    public IReadOnlyDictionary<string, StoredTensor> Tensors { get; }

    /// <summary>The texts under "__metadata__"; empty where there are none.</summary>
    public IReadOnlyDictionary<string, string> Metadata { get; }

    /// <summary>The path that the file was opened by.</summary>
    public string Path { get; }

    /// <summary>The length of the whole file in bytes.</summary>
    public long ByteLength { get; }

    /// <summary>
    /// Opens a file: mapped read-only (<paramref name="map"/>), so that only what is used is read and memory is shared
    /// between processes, or read into memory at once.
    /// </summary>
    /// <exception cref="ModelFormatException">The file is missing, cannot be read, or anything in its header is wrong.</exception>
    public static SafetensorsFile Open(string path, bool map = true)
    {
        try
        {
            using var stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete, bufferSize: 0);
            long length = stream.Length;

            // The header is read, not mapped: it is parsed once, and then a file that shrinks meanwhile does no harm.
            Span<byte> prefix = stackalloc byte[SafetensorsHeader.PrefixLength];
            int prefixLength = stream.ReadAtLeast(prefix, prefix.Length, throwOnEndOfStream: false);
            int headerLength = SafetensorsHeader.ReadLength(prefix[..prefixLength], length, path);
            byte[] json = GC.AllocateUninitializedArray<byte>(headerLength);
            stream.ReadExactly(json);
            SafetensorsHeader header = SafetensorsHeader.Parse(json, length - SafetensorsHeader.PrefixLength - headerLength, path);

            FileBytes content = map ? FileBytes.Map(stream) : FileBytes.Read(stream.SafeFileHandle, length);
            return new SafetensorsFile(path, content, length, headerLength, header);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new ModelFormatException(path, null, "is not there", e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException or NotSupportedException or OutOfMemoryException)
        {
            throw new ModelFormatException(path, null, $"cannot be opened: {e.Message}", e);
        }
    }

    /// <summary>Unmaps or frees the data; every address in <see cref="Tensors"/> is invalid afterwards. May be called again.</summary>
    public void Dispose() => bytes.Dispose();
}
