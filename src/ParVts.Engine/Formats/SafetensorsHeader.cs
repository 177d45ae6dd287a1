using System.Buffers.Binary;
using System.Text.Json;
using System.Text.Unicode;

namespace ParVts.Engine.Formats;

/// <summary>
/// The JSON header of a safetensors file, checked in full. Read by hand over <see cref="Utf8JsonReader"/>, because a
/// deserializer would hide duplicate names, and so that memory stays within a small multiple of the header's own size.
/// </summary>
internal sealed class SafetensorsHeader
{
    /// <summary>A file begins with the header's length as a 64-bit integer.</summary>
    public const int PrefixLength = 8;

    /// <summary>The specification's limit.</summary>
    public const int MaxLength = 100_000_000;

    /// <summary>The one name in the header that is no tensor's.</summary>
    public const string MetadataName = "__metadata__";

    // Beyond every real file, and few enough that a header made to waste time and memory is refused in good time.
    private const int MaxTensors = 1 << 18;
    private const int MaxMetadata = 1 << 16;
    private const int MaxRank = 64;

    private static readonly JsonReaderOptions Options = new() { MaxDepth = 16 };

    private readonly string file;
    private readonly long? dataLength;
    private readonly Dictionary<string, Entry> entries = new(StringComparer.Ordinal);
    private readonly Dictionary<string, string> metadata = new(StringComparer.Ordinal);

    private SafetensorsHeader(string file, long? dataLength)
    {
        this.file = file;
        this.dataLength = dataLength;
    }

    /// <summary>A tensor: its bytes are [Begin, End) of what follows the header.</summary>
    public readonly record struct Entry(string Name, TensorType Type, long[] Shape, long Begin, long End);

    /// <summary>The tensors by name.</summary>
    public IReadOnlyDictionary<string, Entry> Entries => entries;

    /// <summary>The "__metadata__" texts.</summary>
    public IReadOnlyDictionary<string, string> Metadata => metadata;

    /// <summary>Reads the header's length from the first bytes and holds it against the length of the file.</summary>
    public static int ReadLength(ReadOnlySpan<byte> prefix, long fileLength, string file)
    {
        if (fileLength < PrefixLength || prefix.Length < PrefixLength)
            throw new ModelFormatException(file, null, $"is {fileLength} bytes long, too short for a safetensors file; it was cut short or is something else");
        ulong length = BinaryPrimitives.ReadUInt64LittleEndian(prefix);
        if (length > MaxLength)
            throw new ModelFormatException(file, null, $"claims a header of {length} bytes, more than the format's limit of {MaxLength}; this is not a safetensors file, or it is damaged");
        if (length > (ulong)(fileLength - PrefixLength))
            throw new ModelFormatException(file, null, $"claims a header of {length} bytes but is only {fileLength} bytes long; it was cut short");
        return (int)length;
    }

    /// <summary>Bytes of all tensors.</summary>
    public long DataLength { get; private set; }

    /// <summary>Reads a header and checks it against the number of bytes that follow it; null where that is not known.</summary>
    /// <exception cref="ModelFormatException">Anything at all is wrong with it; the tensor at fault is named.</exception>
    public static SafetensorsHeader Parse(ReadOnlySpan<byte> json, long? dataLength, string file)
    {
        if (json.IsEmpty || json[0] != (byte)'{')
            throw new ModelFormatException(file, null, "the header does not begin with '{'; this is not a safetensors file, or it is damaged");
        if (!Utf8.IsValid(json))
            throw new ModelFormatException(file, null, "the header is not valid UTF-8");

        var header = new SafetensorsHeader(file, dataLength);
        try
        {
            var reader = new Utf8JsonReader(json, Options);
            header.ReadEntries(ref reader);
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            // InvalidOperationException: an escape sequence that makes no valid text.
            throw new ModelFormatException(file, null, $"the header is not valid JSON: {e.Message}", e);
        }

        header.CheckLayout();
        return header;
    }

    private void ReadEntries(ref Utf8JsonReader reader)
    {
        reader.Read();
        bool sawMetadata = false;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            string name = reader.GetString()!;
            if (name != MetadataName)
            {
                if (!entries.TryAdd(name, ReadEntry(ref reader, name)))
                    throw Wrong(name, "occurs twice in the header");
                if (entries.Count > MaxTensors)
                    throw new ModelFormatException(file, null, $"has more than {MaxTensors} tensors");
                continue;
            }

            if (sawMetadata)
                throw Wrong(name, "occurs twice in the header");
            sawMetadata = true;
            ReadMetadata(ref reader);
        }

        // Only white space may follow; the reader raises an error for anything else.
        reader.Read();
    }

    private void ReadMetadata(ref Utf8JsonReader reader)
    {
        reader.Read();
        if (reader.TokenType != JsonTokenType.StartObject)
            throw Wrong(MetadataName, "must be an object of texts");
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            string key = reader.GetString()!;
            reader.Read();
            if (reader.TokenType != JsonTokenType.String)
                throw Wrong(MetadataName, $"the value of '{key}' must be a text");
            if (!metadata.TryAdd(key, reader.GetString()!))
                throw Wrong(MetadataName, $"'{key}' occurs twice");
            if (metadata.Count > MaxMetadata)
                throw Wrong(MetadataName, $"has more than {MaxMetadata} texts");
        }
    }

    private Entry ReadEntry(ref Utf8JsonReader reader, string name)
    {
        reader.Read();
        if (reader.TokenType != JsonTokenType.StartObject)
            throw Wrong(name, "must be an object with dtype, shape and data_offsets");

        TensorType? type = null;
        long[]? shape = null;
        long[]? offsets = null;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            if (reader.ValueTextEquals("dtype"u8))
            {
                RefuseSecond(type is not null, name, "dtype");
                type = ReadType(ref reader, name);
            }
            else if (reader.ValueTextEquals("shape"u8))
            {
                RefuseSecond(shape is not null, name, "shape");
                shape = ReadIntegers(ref reader, name, "shape", MaxRank);
            }
            else if (reader.ValueTextEquals("data_offsets"u8))
            {
                RefuseSecond(offsets is not null, name, "data_offsets");
                offsets = ReadIntegers(ref reader, name, "data_offsets", 2);
                if (offsets.Length != 2)
                    throw Wrong(name, "data_offsets must be two numbers, [begin, end]");
            }
            else
            {
                // Like the reference implementation: what a later version may add is passed over.
                reader.Skip();
            }
        }

        if (type is null || shape is null || offsets is null)
            throw Wrong(name, $"has no {(type is null ? "dtype" : shape is null ? "shape" : "data_offsets")}");
        var entry = new Entry(name, type.Value, shape, offsets[0], offsets[1]);
        CheckEntry(entry);
        return entry;
    }

    private void RefuseSecond(bool seen, string name, string property)
    {
        if (seen)
            throw Wrong(name, $"has {property} twice");
    }

    private TensorType ReadType(ref Utf8JsonReader reader, string name)
    {
        reader.Read();
        if (reader.TokenType != JsonTokenType.String)
            throw Wrong(name, "dtype must be a text");
        string text = reader.GetString()!;
        return TensorTypes.TryParse(text, out TensorType type)
            ? type
            : throw Wrong(name, $"the dtype '{text}' is unknown; known are {TensorTypes.KnownNames}");
    }

    private long[] ReadIntegers(ref Utf8JsonReader reader, string name, string property, int limit)
    {
        reader.Read();
        if (reader.TokenType != JsonTokenType.StartArray)
            throw Wrong(name, $"{property} must be a list of whole numbers");
        Span<long> values = stackalloc long[MaxRank];
        int count = 0;
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            if (reader.TokenType != JsonTokenType.Number || !reader.TryGetInt64(out long value) || value < 0)
                throw Wrong(name, $"{property} must be whole numbers from 0 to {long.MaxValue}");
            if (count == limit)
                throw Wrong(name, $"{property} has more than {limit} numbers");
            values[count++] = value;
        }

        return values[..count].ToArray();
    }

    private void CheckEntry(in Entry entry)
    {
        if (entry.Begin > entry.End)
            throw Wrong(entry.Name, $"its data begins at {entry.Begin}, behind its end at {entry.End}");
        if (!entry.Type.TryGetByteLength(entry.Shape, out long bytes))
            throw Wrong(entry.Name, $"{Describe(entry)} is too large, or does not fill whole bytes");
        if (bytes != entry.End - entry.Begin)
            throw Wrong(entry.Name, $"{Describe(entry)} takes {bytes} bytes, but its data_offsets hold {entry.End - entry.Begin}");
        if (entry.End > dataLength)
            throw Wrong(entry.Name, $"its data ends at byte {entry.End}, but the file holds only {dataLength} bytes of data; it was cut short, or is damaged");
    }

    /// <summary>The format allows neither holes nor overlaps: in order of their beginnings, tensors follow each other exactly.</summary>
    private void CheckLayout()
    {
        Entry[] inOrder = [.. entries.Values];
        Array.Sort(inOrder, static (a, b) => a.Begin != b.Begin ? a.Begin.CompareTo(b.Begin) : a.End.CompareTo(b.End));
        long end = 0;
        string before = "";
        foreach (Entry entry in inOrder)
        {
            if (entry.Begin < end)
                throw Wrong(entry.Name, $"its data overlaps that of '{before}'");
            if (entry.Begin > end)
                throw Wrong(entry.Name, $"{entry.Begin - end} bytes in front of its data belong to no tensor");
            end = entry.End;
            before = entry.Name;
        }

        DataLength = end;
        if (dataLength is long held && end != held)
            throw new ModelFormatException(file, null, $"{held - end} bytes at the end belong to no tensor");
    }

    private static string Describe(in Entry entry) => $"{entry.Type.Name()} [{string.Join(", ", entry.Shape)}]";

    private ModelFormatException Wrong(string name, string message) => new Checked(file).Wrong(name, message);
}
