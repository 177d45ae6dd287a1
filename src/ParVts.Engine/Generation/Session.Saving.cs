using System.Runtime.InteropServices;
using ParVts.Engine.Compute;
using ParVts.Engine.Formats;
using ParVts.Engine.Generation.Saving;

namespace ParVts.Engine.Generation;

/// <content>A session's cache in a file, so that a conversation can go on elsewhere or later.</content>
public sealed partial class Session
{
    /// <summary>
    /// Writes the cache: keys and values, and the tokens, pictures (their hashes) and turns that they stand for, as one safetensors file.
    /// Nothing else of the session is in it. The device's memory is read a page at a time.
    /// </summary>
    /// <param name="stream">Written from where it stands, and left open.</param>
    /// <exception cref="IOException">The stream cannot be written.</exception>
    public void Save(Stream stream)
    {
        using Lease lease = Enter();
        TextConfig config = _engine.Config.Text;
        var pages = new KvPages(_run.Kv, _device);
        long[] ids = [.. _cachedIds];
        long[] pictures = [.. _cachedImages.SelectMany(hash => MemoryMarshal.Cast<byte, long>(hash).ToArray())];
        SafetensorsWriter.Write(
            stream,
            [
                TensorToWrite.Of(SavedSession.Ids, ids, ids.Length),
                TensorToWrite.Of(SavedSession.Pictures, pictures, _cachedImages.Count, 4),
                TensorToWrite.Of(SavedSession.Turns, _turns.Write(), _turns.Count, CachedTurns.Columns(config.Layers)),
                .. Enumerable.Range(0, config.Layers).Select(layer => pages.ToWrite(layer, _engine.Model.InputType, config)),
            ],
            Own().ToMetadata());
    }

    /// <summary>The same into a file, which is replaced only once it is complete.</summary>
    /// <exception cref="IOException">The file cannot be written.</exception>
    public void Save(string path) => SafetensorsWriter.Replace(path, Save);

    /// <summary>
    /// Takes a saved cache up in place of this session's own: a further turn then goes on, to the bit, as in the session that was saved. It
    /// must be of the same model, policy and type of keys and values. Where it cannot be restored, this session is empty.
    /// </summary>
    /// <param name="stream">Read from where it stands to the end of what <see cref="Save(Stream)"/> wrote, and left open.</param>
    /// <exception cref="SavedSessionException">It is damaged, or of another model, policy or type; the message says which.</exception>
    /// <exception cref="InsufficientMemoryException">Its keys and values do not fit the memory cap, or the device.</exception>
    /// <exception cref="IOException">The stream cannot be read.</exception>
    public void Restore(Stream stream)
    {
        using Lease lease = Enter();
        Forget(0);
        _cachedImages.Clear();
        _trace.Clear();
        try
        {
            SavedSessionReader saved = SavedSessionReader.Open(stream, Own(), _engine.Config.Text, _turns);
            ReserveFor(_turns.RowsAt(saved.Ids.Length, _run.Kv.Layers));
            saved.ReadLayers(new KvPages(_run.Kv, _device));
            _cachedIds.AddRange(saved.Ids);
            _cachedImages.AddRange(saved.Pictures);
        }
        catch
        {
            _turns.Clear();
            _run.Kv.Clear();
            throw;
        }
    }

    private SavedSession Own() => new(_engine.Fingerprint, _policy.Name, _engine.Model.InputType);

    private void ReserveFor(int[] rows)
    {
        var needs = new KvNeeds(rows.Sum(count => (long)KvStore.PagesFor(count)), rows.Max());
        TextConfig config = _engine.Config.Text;
        long bytes = KvStore.BytesFor(config.Layers, config.KeyValueHeads, config.HeadDim, needs, _engine.Model.InputType);
        var plan = new MemoryPlan(
            _engine.Model.TouchedBytes(0), bytes, 0, _engine.Model.DeviceBytes is null ? _engine.ProcessBytes : 0);
        plan.Require(_engine.Options.MemoryCap);
        plan.RequireFree(Math.Max(0, bytes - _run.Kv.ReservedBytes), _device);
        _run.Kv.Reserve(needs);
        for (int layer = 0; layer < rows.Length; layer++)
            _run.Kv.Extend(layer, rows[layer]);
    }
}
