using System.Runtime.CompilerServices;
using ParVts.Engine.Formats;

namespace ParVts.Engine.Compute;

/// <summary>
/// A view of a row-major matrix in a device's memory: no ownership, no allocation. The caller keeps the memory alive.
/// </summary>
/// <param name="Address">The first element; host memory for the CPU, a device pointer for CUDA.</param>
/// <param name="Type">The element type: F32, BF16, F16 for numbers, I32 for ids and positions.</param>
/// <param name="Rows">Rows.</param>
/// <param name="Columns">Elements in a row.</param>
/// <param name="Stride">Elements from one row to the next; at least <paramref name="Columns"/>.</param>
public readonly record struct Tensor(nint Address, TensorType Type, int Rows, int Columns, int Stride)
{
    /// <summary>A contiguous matrix at <paramref name="address"/>.</summary>
    public Tensor(nint address, TensorType type, int rows, int columns)
        : this(address, type, rows, columns, columns)
    {
    }

    /// <summary>True for <c>default</c>: an optional argument that was not given.</summary>
    public bool IsEmpty => Address == 0;

    /// <summary>Bytes of one element.</summary>
    public int ElementBytes
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => Type switch
        {
            TensorType.F32 or TensorType.I32 => 4,
            TensorType.BF16 or TensorType.F16 => 2,
            TensorType.F64 or TensorType.I64 => 8,
            _ => throw NoElements(Type),
        };
    }

    /// <summary>Rows <paramref name="first"/> … <paramref name="first"/> + <paramref name="count"/> − 1.</summary>
    public Tensor Slice(int first, int count)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(first);
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        ArgumentOutOfRangeException.ThrowIfGreaterThan((long)first + count, Rows);
        return this with { Address = Address + (nint)((long)first * Stride * ElementBytes), Rows = count };
    }

    private static NotSupportedException NoElements(TensorType type) => new($"no operation takes tensors of type {type}");

    internal unsafe float* Floats => (float*)Address;

    internal unsafe int* Integers => (int*)Address;
}
