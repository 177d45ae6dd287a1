using ParVts.Engine.Compute;
using ParVts.Engine.Formats;

namespace ParVts.Engine.Models;

/// <summary>
/// Lays tensors out in one block of device memory. The same layout code runs twice: over no memory to learn the size
/// (contract D4), then over the block; so plan and allocation cannot differ.
/// </summary>
/// <param name="address">The block; 0 to measure.</param>
/// <param name="rowAlignment">Rows of more than one row begin at multiples of so many bytes (<see cref="ComputeDevice.RowAlignment"/>).</param>
internal sealed class Arena(nint address, int rowAlignment)
{
    private long _offset;

    /// <summary>Bytes that the layout takes.</summary>
    public long Bytes { get; private set; }

    /// <summary>The place from which <see cref="Return"/> lays out again.</summary>
    public long Mark => _offset;

    /// <summary>The next tensor, aligned to 64 bytes.</summary>
    public Tensor Take(TensorType type, int rows, int columns)
    {
        var tensor = new Tensor(address + (nint)_offset, type, rows, columns);
        int unit = Math.Max(1, rowAlignment / tensor.ElementBytes);
        tensor = tensor with { Stride = (columns + unit - 1) / unit * unit };
        _offset = (_offset + (long)rows * tensor.Stride * tensor.ElementBytes + 63) & ~63L;
        Bytes = Math.Max(Bytes, _offset);
        return tensor;
    }

    /// <summary>Lets what follows use the memory behind <paramref name="mark"/> again: stages that never live at once.</summary>
    public void Return(long mark) => _offset = mark;
}
