using System.Runtime.InteropServices;
using ParVts.Engine.Formats;

namespace ParVts.Engine.Compute;

/// <summary>
/// Owned memory of one device (contract M1). Disposing twice is safe; views (<see cref="Tensor"/>) must not outlive it.
/// </summary>
public abstract class DeviceBuffer : SafeHandle
{
    /// <summary>Wraps an allocation of <paramref name="bytes"/> bytes at <paramref name="address"/>.</summary>
    protected DeviceBuffer(nint address, long bytes)
        : base(0, ownsHandle: true)
    {
        SetHandle(address);
        Bytes = bytes;
    }

    /// <summary>How many bytes it has.</summary>
    public long Bytes { get; }

    /// <inheritdoc/>
    public override bool IsInvalid => handle == 0;

    /// <summary>A view of <paramref name="rows"/>×<paramref name="columns"/> elements from <paramref name="byteOffset"/> on.</summary>
    public Tensor View(TensorType type, int rows, int columns, long byteOffset = 0)
    {
        ObjectDisposedException.ThrowIf(IsClosed, this);
        var view = new Tensor(handle + (nint)byteOffset, type, rows, columns);
        long end = byteOffset + (long)rows * columns * view.ElementBytes;
        ArgumentOutOfRangeException.ThrowIfNegative(byteOffset);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(end, Bytes);
        return view;
    }
}
