using System.Runtime.InteropServices;
using ParVts.Engine.Formats;

namespace ParVts.Engine.Generation.Saving;

/// <summary>
/// Reads a saved session from a stream, from front to back, never beyond its end; nothing of it is believed unchecked. One caller at a
/// time.
/// </summary>
internal sealed class SavedSessionReader
{
    // Far above what a session of a thousand layers needs.
    private const int MostHeaderBytes = 16 << 20;
    private const int PieceBytes = 1 << 16;

    private readonly Stream _stream;
    private readonly TextConfig _config;
    private readonly SafetensorsHeader _header;

    private SavedSessionReader(Stream stream, TextConfig config, SafetensorsHeader header)
    {
        _stream = stream;
        _config = config;
        _header = header;
    }

    /// <summary>The tokens that the cache stands for.</summary>
    public int[] Ids { get; private set; } = [];

    /// <summary>The pictures' hashes.</summary>
    public byte[][] Pictures { get; private set; } = [];

    /// <summary>Reads all that stands before the keys and values, and holds it against the session.</summary>
    /// <param name="stream">The stream.</param>
    /// <param name="expected">What the session is.</param>
    /// <param name="config">The model.</param>
    /// <param name="turns">Receives the turns.</param>
    /// <exception cref="SavedSessionException">It is damaged, or of something else.</exception>
    public static SavedSessionReader Open(Stream stream, SavedSession expected, TextConfig config, CachedTurns turns)
    {
        SafetensorsHeader header = ReadHeader(stream);
        expected.Require(header.Metadata);

        // Where that can be known, before memory is taken for what is not there.
        if (stream.CanSeek && stream.Length - stream.Position < header.DataLength)
            throw Damaged($"was cut short: {header.DataLength} bytes should follow its header");
        var reader = new SavedSessionReader(stream, config, header);
        reader.ReadTokens(turns, expected.KeyValueType);
        return reader;
    }

    /// <summary>Reads a layer's keys and values; layers ascend in the order of their names.</summary>
    public void ReadLayers(KvPages pages)
    {
        foreach (int layer in Enumerable.Range(0, _config.Layers).OrderBy(SavedSession.Layer, StringComparer.Ordinal))
            Guard(() => pages.Read(layer, _stream));
    }

    private static SafetensorsHeader ReadHeader(Stream stream)
    {
        Span<byte> prefix = stackalloc byte[SafetensorsHeader.PrefixLength];
        int read = stream.ReadAtLeast(prefix, prefix.Length, throwOnEndOfStream: false);
        if (read < prefix.Length)
            throw Damaged($"is {read} bytes long: it was cut short");
        ulong length = System.Buffers.Binary.BinaryPrimitives.ReadUInt64LittleEndian(prefix);
        if (length > MostHeaderBytes)
            throw Damaged($"claims a header of {length} bytes, more than the {MostHeaderBytes} that are read: it is damaged, or something else");
        byte[] json = ReadBytes(stream, (int)length);
        try
        {
            return SafetensorsHeader.Parse(json, dataLength: null, "the header");
        }
        catch (ModelFormatException error)
        {
            throw Damaged($"is damaged, or something else: {error.Message}", error);
        }
    }

    // In pieces: what a damaged header claims is not allocated before it is there.
    private static byte[] ReadBytes(Stream stream, long length)
    {
        using var bytes = new MemoryStream((int)Math.Min(length, PieceBytes));
        byte[] piece = new byte[(int)Math.Min(length, PieceBytes)];
        while (bytes.Length < length)
        {
            int count = stream.Read(piece, 0, (int)Math.Min(piece.Length, length - bytes.Length));
            if (count == 0)
                throw Damaged("was cut short");
            bytes.Write(piece, 0, count);
        }

        return bytes.ToArray();
    }

    private static void Guard(Action read)
    {
        try
        {
            read();
        }
        catch (EndOfStreamException error)
        {
            throw Damaged("was cut short", error);
        }
    }

    private static SavedSessionException Damaged(string message, Exception? inner = null) => new(SavedSessionProblem.Damaged, message, inner);

    // The header is checked as a whole before the data: names, types, shapes, and that it lies in the order in which it is read.
    private void ReadTokens(CachedTurns turns, TensorType type)
    {
        long tokens = Rows(SavedSession.Ids, columns: null, most: _config.MaxPositions);
        long pictures = Rows(SavedSession.Pictures, columns: 4, most: _config.MaxPositions);
        long count = Rows(SavedSession.Turns, CachedTurns.Columns(_config.Layers), most: tokens);
        string[] order =
        [
            SavedSession.Ids, SavedSession.Pictures, SavedSession.Turns,
            .. Enumerable.Range(0, _config.Layers).Select(SavedSession.Layer).Order(StringComparer.Ordinal),
        ];
        if (_header.Entries.Count != order.Length || !order.All(_header.Entries.ContainsKey))
            throw Damaged($"does not hold the tensors of {_config.Layers} layers and the conversation, or holds others");

        // Empty tensors lie anywhere.
        long end = 0;
        foreach (string name in order)
        {
            SafetensorsHeader.Entry entry = _header.Entries[name];
            if (entry.End > entry.Begin && entry.Begin != end)
                throw Damaged($"has '{name}' in another place than it is written to");
            end = Math.Max(end, entry.End);
        }

        Ids = [.. ReadNumbers(tokens).Select(Id)];
        Pictures = [.. ReadNumbers(4 * pictures).Chunk(4).Select(hash => MemoryMarshal.AsBytes(hash.AsSpan()).ToArray())];
        if (!turns.TryRead(ReadNumbers(count * CachedTurns.Columns(_config.Layers)), _config.Layers, Ids.Length))
            throw Damaged("tells of turns that do not follow each other, or do not fit its tokens");
        int[] rows = turns.RowsAt(Ids.Length, _config.Layers);
        for (int layer = 0; layer < rows.Length; layer++)
        {
            SafetensorsHeader.Entry entry = _header.Entries[SavedSession.Layer(layer)];
            if (entry.Type != type || !entry.Shape.AsSpan().SequenceEqual(KvPages.Shape(rows[layer], _config)))
                throw Damaged($"has '{entry.Name}' of the shape [{string.Join(", ", entry.Shape)}] {entry.Type.Name()}; of {rows[layer]} rows, [{string.Join(", ", KvPages.Shape(rows[layer], _config))}] {type.Name()} was expected");
        }
    }

    private int Id(long id) => id >= 0 && id < _config.VocabularySize ? (int)id : throw Damaged($"holds the token {id}; the vocabulary has {_config.VocabularySize}");

    private long[] ReadNumbers(long count) =>
        count == 0 ? [] : MemoryMarshal.Cast<byte, long>(ReadBytes(_stream, count * sizeof(long))).ToArray();

    // Lines of a tensor of whole numbers.
    private long Rows(string name, int? columns, long most)
    {
        if (!_header.Entries.TryGetValue(name, out SafetensorsHeader.Entry entry))
            throw Damaged($"has no '{name}': it is damaged, or something else");
        bool fits = entry.Type == TensorType.I64 && (columns is int width ? entry.Shape is [_, long found] && found == width : entry.Shape.Length == 1);
        if (!fits || entry.Shape[0] > most)
            throw Damaged($"has '{name}' of the shape [{string.Join(", ", entry.Shape)}] {entry.Type.Name()}; at most [{most}{(columns is null ? "" : $", {columns}")}] I64 was expected");
        return entry.Shape[0];
    }
}
