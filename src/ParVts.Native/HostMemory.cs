using System.Runtime.InteropServices;
using ParVts.Engine.Compute;
using ParVts.Engine.Formats;

namespace ParVts.Native;

/// <summary>pv_tensor: a matrix in memory of the host's.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct TensorInfo
{
    private const int MatrixAlignment = 16;

    public uint StructSize;
    public int Type;
    public void* Data;
    public int Rows;
    public int Columns;
    public long Stride;

    /// <summary>The matrix as operations take it.</summary>
    /// <exception cref="CallException">It is none: no address, no rows, an unknown type, or not aligned.</exception>
    public static Tensor Read(TensorInfo* info, string name)
    {
        Call.Require(info, name);
        HostMemory.RequireSize(info->StructSize, (uint)sizeof(TensorInfo), name);
        TensorType type = HostMemory.TypeOf(info->Type, name);
        if (info->Data == null)
            throw new CallException(Status.InvalidArgument, $"{name}.data is NULL");
        if (info->Rows < 1 || info->Columns < 1)
            throw new CallException(Status.InvalidArgument, $"{name} is [{info->Rows}, {info->Columns}]; it must have rows and columns");
        long stride = info->Stride == 0 ? info->Columns : info->Stride;
        if (stride < info->Columns || stride > int.MaxValue)
            throw new CallException(Status.InvalidArgument, $"{name}.stride is {stride}; it must be at least the {info->Columns} columns, and at most {int.MaxValue}");
        var tensor = new Tensor((nint)info->Data, type, info->Rows, info->Columns, (int)stride);
        int alignment = type == TensorType.I32 ? sizeof(int) : MatrixAlignment;
        if ((nuint)info->Data % (nuint)alignment != 0)
            throw new CallException(Status.InvalidArgument, $"{name}.data is not at a multiple of {alignment} bytes");
        return tensor;
    }

    /// <summary>A matrix of one type.</summary>
    /// <exception cref="CallException">It is none, or of another type.</exception>
    public static Tensor Read(TensorInfo* info, string name, TensorType type)
    {
        Tensor tensor = Read(info, name);
        return tensor.Type == type ? tensor : throw new CallException(Status.InvalidArgument, $"{name} is of type {tensor.Type}; it must be {type}");
    }

    /// <summary>One row of a type: row numbers, weights, sums.</summary>
    /// <exception cref="CallException">It is none, or has more than one row.</exception>
    public static Tensor ReadRow(TensorInfo* info, string name, TensorType type)
    {
        Tensor tensor = Read(info, name, type);
        return tensor.Rows == 1 ? tensor : throw new CallException(Status.InvalidArgument, $"{name} has {tensor.Rows} rows; it must have one");
    }
}

/// <summary>pv_kv_layer: keys and values of a layer in pages of the host's.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct LayerInfo
{
    // What is held on the stack for a head; a GPU's own limit is lower.
    private const int LargestHeadDim = 1024;

    public uint StructSize;
    public int Type;
    public void** Pages;
    public int Length;
    public int Heads;
    public int HeadDim;
    public int Capacity;
    public int* LengthAt;

    /// <summary>The layer as operations take it.</summary>
    /// <param name="info">It.</param>
    /// <param name="onHost">The pages are in host memory: they can be looked at.</param>
    /// <param name="step">A decode step, which may read the length on the device.</param>
    /// <exception cref="CallException">It is none.</exception>
    public static KvLayer Read(LayerInfo* info, bool onHost, bool step = false)
    {
        Call.Require(info, "layer");
        HostMemory.RequireSize(info->StructSize, (uint)sizeof(LayerInfo), "layer");
        TensorType type = HostMemory.TypeOf(info->Type, "layer");
        if (onHost != (type == TensorType.F32) || type == TensorType.I32)
            throw new CallException(Status.InvalidArgument, $"keys and values of type {type}; on the CPU they are F32, on a GPU BF16 or F16");
        if (info->Heads < 1 || info->HeadDim is < 1 or > LargestHeadDim || (long)info->Heads * info->HeadDim > int.MaxValue)
            throw new CallException(Status.InvalidArgument, $"layer has {info->Heads} heads of {info->HeadDim} elements");
        int capacity = info->Capacity == 0 ? info->Length : info->Capacity;
        bool reads = step && info->LengthAt != null;
        if (info->Length < (reads ? 0 : 1) || capacity < Math.Max(1, info->Length))
            throw new CallException(Status.InvalidArgument, $"layer has {info->Length} rows, and room for {capacity}");
        Call.Require(info->Pages, "layer.pages");
        int rows = info->Length;
        if (reads && onHost)
        {
            rows = *info->LengthAt + 1;
            if (rows < 1 || rows > capacity)
                throw new CallException(Status.InvalidArgument, $"*layer.length_at is {rows - 1}; the layer has room for {capacity} rows, the newest included");
        }

        for (int page = 0; onHost && page < KvStore.PagesFor(rows); page++)
            Call.Require(info->Pages[page], "an address in layer.pages");
        return new KvLayer(
            (nint)info->Pages, info->Length, info->Heads, info->HeadDim, type, reads ? (nint)info->LengthAt : 0, capacity);
    }
}

/// <summary>pv_attention_plan: who sees whom, in flat arrays.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct PlanInfo
{
    public uint StructSize;
    public uint HeadMaskWords;
    public QuerySegment* Segments;
    public nuint SegmentCount;
    public KeyRange* Ranges;
    public nuint RangeCount;
    public uint* KeyMask;
    public nuint KeyMaskWords;
    public float* KeyBias;
    public nuint KeyBiasCount;
    public uint* HeadMasks;
    public nuint HeadMaskCount;
}

/// <summary>What these structures have in common.</summary>
internal static class HostMemory
{
    /// <summary>Refuses a structure that is not of this header, or a newer one's.</summary>
    public static void RequireSize(uint given, uint needed, string name)
    {
        if (given < needed)
            throw new CallException(Status.InvalidArgument, $"{name}.struct_size is {given}; it must be {needed}", "set it to sizeof the structure");
    }

    /// <summary>pv_type.</summary>
    public static TensorType TypeOf(int type, string name) => type switch
    {
        1 => TensorType.F32,
        2 => TensorType.F16,
        3 => TensorType.BF16,
        4 => TensorType.I32,
        _ => throw new CallException(Status.InvalidArgument, $"{name}.type is {type}; there are PV_F32, PV_F16, PV_BF16, PV_I32"),
    };
}
