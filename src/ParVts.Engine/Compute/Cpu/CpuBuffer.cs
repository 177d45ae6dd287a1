using System.Runtime.InteropServices;

namespace ParVts.Engine.Compute.Cpu;

/// <summary>Native memory aligned to 64 bytes.</summary>
internal sealed unsafe class CpuBuffer : DeviceBuffer
{
    public CpuBuffer(long bytes)
        : base(Allocate(bytes), bytes)
    {
    }

    protected override bool ReleaseHandle()
    {
        NativeMemory.AlignedFree((void*)handle);
        return true;
    }

    private static nint Allocate(long bytes)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(bytes);
        try
        {
            return (nint)NativeMemory.AlignedAlloc((nuint)Math.Max(bytes, 64), 64);
        }
        catch (OutOfMemoryException error)
        {
            throw new InsufficientMemoryException(bytes, "cpu", error);
        }
    }
}
