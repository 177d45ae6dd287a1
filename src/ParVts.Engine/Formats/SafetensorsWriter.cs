using System.Buffers.Binary;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace ParVts.Engine.Formats;

/// <summary>Writes safetensors files. Any thread.</summary>
public static class SafetensorsWriter
{
    private const int HeaderAlignment = 8;

    // A multiple of every element size in bytes, and of the 3 bytes that four 6-bit elements take.
    private const int PieceLength = 3 << 19;

    private static readonly UTF8Encoding StrictUtf8 = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);
    private static readonly JsonWriterOptions HeaderOptions = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>
    /// Writes a file: under a temporary name beside <paramref name="path"/> first, and moved into place when it is
    /// complete, so that nobody ever sees half of it. Wide types come first, so that each tensor is aligned to its elements.
    /// </summary>
    /// <exception cref="ArgumentException">A name occurs twice or is not allowed, or data does not have the size of its shape.</exception>
    /// <exception cref="IOException">The disk is full, or the folder is not there.</exception>
    public static void Write(string path, IEnumerable<TensorToWrite> tensors, IReadOnlyDictionary<string, string>? metadata = null) =>
        Replace(path, stream => Write(stream, tensors, metadata));

    /// <summary>Writes a file under a temporary name beside its own, and moves it into place when it is complete.</summary>
    internal static void Replace(string path, Action<Stream> write)
    {
        string temporary = $"{path}.{Guid.NewGuid():N}.tmp";
        try
        {
            using (var stream = new FileStream(temporary, FileMode.CreateNew, FileAccess.Write, FileShare.None, bufferSize: 1 << 16))
            {
                write(stream);
            }

            File.Move(temporary, path, overwrite: true);
        }
        catch
        {
            File.Delete(temporary);
            throw;
        }
    }

    /// <summary>Writes to a stream, in the same order; nothing is written where an argument is wrong.</summary>
    /// <inheritdoc cref="Write(string, IEnumerable{TensorToWrite}, IReadOnlyDictionary{string, string}?)"/>
    public static void Write(Stream stream, IEnumerable<TensorToWrite> tensors, IReadOnlyDictionary<string, string>? metadata = null)
    {
        TensorToWrite[] ordered = [.. tensors.OrderByDescending(tensor => tensor.Type.Bits()).ThenBy(tensor => tensor.Name, StringComparer.Ordinal)];
        long[] lengths = Array.ConvertAll(ordered, Length);
        stream.Write(Header(ordered, lengths, metadata));
        for (int i = 0; i < ordered.Length; i++)
            WriteData(stream, ordered[i], lengths[i]);
    }

    private static long Length(TensorToWrite tensor)
    {
        if (!tensor.Type.TryGetByteLength(tensor.Shape, out long bytes))
            throw new ArgumentException($"'{tensor.Name}': the shape [{string.Join(", ", tensor.Shape)}] is negative, too large, or does not fill whole bytes.");
        if (tensor.Fill is null && tensor.Data.Length != bytes)
            throw new ArgumentException($"'{tensor.Name}': {tensor.Type.Name()} [{string.Join(", ", tensor.Shape)}] takes {bytes} bytes, but its data has {tensor.Data.Length}.");
        return bytes;
    }

    /// <summary>The length, the JSON, and spaces up to a multiple of 8 bytes.</summary>
    private static byte[] Header(TensorToWrite[] tensors, long[] lengths, IReadOnlyDictionary<string, string>? metadata)
    {
        using var buffer = new MemoryStream();
        buffer.Write(stackalloc byte[SafetensorsHeader.PrefixLength]);
        using (var writer = new Utf8JsonWriter(buffer, HeaderOptions))
        {
            writer.WriteStartObject();
            WriteMetadata(writer, metadata);
            var names = new HashSet<string>(StringComparer.Ordinal);
            long begin = 0;
            for (int i = 0; i < tensors.Length; i++)
            {
                if (tensors[i].Name == SafetensorsHeader.MetadataName || !names.Add(tensors[i].Name))
                    throw new ArgumentException($"The tensor name '{tensors[i].Name}' occurs twice, or is reserved.");
                WriteEntry(writer, tensors[i], begin, begin + lengths[i]);
                begin = checked(begin + lengths[i]);
            }

            writer.WriteEndObject();
        }

        while (buffer.Length % HeaderAlignment != 0)
            buffer.WriteByte((byte)' ');
        byte[] header = buffer.ToArray();
        long length = header.Length - SafetensorsHeader.PrefixLength;
        if (length > SafetensorsHeader.MaxLength)
            throw new ArgumentException($"The header would be {length} bytes long, more than the format's limit of {SafetensorsHeader.MaxLength}.");
        BinaryPrimitives.WriteInt64LittleEndian(header, length);
        return header;
    }

    private static void WriteMetadata(Utf8JsonWriter writer, IReadOnlyDictionary<string, string>? metadata)
    {
        if (metadata is null)
            return;
        writer.WriteStartObject(SafetensorsHeader.MetadataName);
        foreach ((string key, string value) in metadata)
            writer.WriteString(Text(key), Text(value));
        writer.WriteEndObject();
    }

    private static void WriteEntry(Utf8JsonWriter writer, TensorToWrite tensor, long begin, long end)
    {
        writer.WriteStartObject(Text(tensor.Name));
        writer.WriteString("dtype", tensor.Type.Name());
        writer.WriteStartArray("shape");
        foreach (long extent in tensor.Shape)
            writer.WriteNumberValue(extent);
        writer.WriteEndArray();
        writer.WriteStartArray("data_offsets");
        writer.WriteNumberValue(begin);
        writer.WriteNumberValue(end);
        writer.WriteEndArray();
        writer.WriteEndObject();
    }

    /// <summary>The JSON writer would quietly replace half a surrogate pair, and the tensor would not be found by its name again.</summary>
    private static string Text(string text)
    {
        try
        {
            StrictUtf8.GetByteCount(text);
            return text;
        }
        catch (EncoderFallbackException e)
        {
            throw new ArgumentException($"The text '{text}' holds half a surrogate pair.", e);
        }
    }

    private static void WriteData(Stream stream, TensorToWrite tensor, long length)
    {
        if (tensor.Fill is null)
        {
            stream.Write(tensor.Data.Span);
            return;
        }

        byte[] piece = new byte[Math.Min(PieceLength, length)];
        for (long done = 0; done < length; done += piece.Length)
        {
            Span<byte> part = piece.AsSpan(0, (int)Math.Min(piece.Length, length - done));
            tensor.Fill(part);
            stream.Write(part);
        }
    }
}
