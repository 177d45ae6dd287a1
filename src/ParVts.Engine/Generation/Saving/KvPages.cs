using ParVts.Engine.Compute;
using ParVts.Engine.Formats;

namespace ParVts.Engine.Generation.Saving;

/// <summary>A store's pages as bytes, one page in memory at a time. One caller at a time.</summary>
internal sealed class KvPages
{
    private readonly KvStore _kv;
    private readonly ComputeDevice _device;
    private readonly byte[] _page;
    private (int Layer, int Page) _held = (-1, -1);

    public KvPages(KvStore kv, ComputeDevice device)
    {
        _kv = kv;
        _device = device;
        _page = new byte[kv.PageBytes];
    }

    /// <summary>The shape of a layer's tensor.</summary>
    public static long[] Shape(int rows, TextConfig config) =>
        [KvStore.PagesFor(rows), 2, config.KeyValueHeads, KvStore.PageRows, KvStore.Pad(config.HeadDim)];

    /// <summary>A layer's tensor, read from the device while it is written.</summary>
    public TensorToWrite ToWrite(int layer, TensorType type, TextConfig config)
    {
        long place = 0;
        return TensorToWrite.Filled(SavedSession.Layer(layer), type, Fill, Shape(_kv.Length(layer), config));

        void Fill(Span<byte> piece)
        {
            while (!piece.IsEmpty)
            {
                Hold(layer, (int)(place / _page.Length));
                int from = (int)(place % _page.Length);
                int count = Math.Min(piece.Length, _page.Length - from);
                _page.AsSpan(from, count).CopyTo(piece);
                piece = piece[count..];
                place += count;
            }
        }
    }

    /// <summary>Reads a layer's pages from a stream into the store, which has its length already.</summary>
    /// <exception cref="EndOfStreamException">The stream ends before.</exception>
    public void Read(int layer, Stream stream)
    {
        for (int page = 0; page < KvStore.PagesFor(_kv.Length(layer)); page++)
        {
            stream.ReadExactly(_page);
            _device.Upload<byte>(_page, _kv.Page(layer, page));
        }
    }

    private void Hold(int layer, int page)
    {
        if (_held == (layer, page))
            return;
        _held = (-1, -1);
        Tensor all = _kv.Page(layer, page);
        int used = Math.Min(KvStore.PageRows, _kv.Length(layer) - page * KvStore.PageRows);
        if (used == KvStore.PageRows)
        {
            _device.Download<byte>(all, _page);
        }
        else
        {
            // What lies behind the last row nobody has written.
            int row = all.Columns * all.ElementBytes;
            _page.AsSpan().Clear();
            for (int first = 0; first < all.Rows; first += KvStore.PageRows)
                _device.Download(all.Slice(first, used), _page.AsSpan(first * row, used * row));
        }

        _held = (layer, page);
    }
}
