using System.Runtime.InteropServices;
using ParVts.Engine.Compute;

namespace ParVts.Native.Tests;

/// <content>Matrices, layers and plans of the kernels: good ones of one small attention on the CPU, and each thing that can be wrong with them.</content>
public sealed unsafe partial class BadArgumentTests
{
    private const int Rows = 4;
    private const int Heads = 2;
    private const int HeadDim = 16;
    private const int Alignment = 64;

    private static string SavedSession { get; } = Path.Combine(Path.GetTempPath(), $"parvts-bad-{Environment.ProcessId}.safetensors");

    private static ulong OpenKernels()
    {
        ErrorInfo error = Host.Error();
        ulong kernels;
        fixed (byte* cpu = Host.C("cpu"))
            Host.Ok(Host.Api->KernelsOpen(cpu, null, null, 0, &kernels, &error), error);
        return kernels;
    }

    private ulong CreatePlan()
    {
        ErrorInfo error = Host.Error();
        ulong plan;
        Host.Ok(Host.Api->PlanCreate(Plan(), &plan, &error), error);
        return plan;
    }

    // Which shape each argument has, in calls that work.
    private nint Tensor(HeaderFunction function, string name)
    {
        (int type, int rows, int columns) = (function.Name, name) switch
        {
            ("decode_attention", _) => (1, 1, Heads * HeadDim),
            (_, "log_sum_exp") => (1, Rows, Heads),
            (_, "row_numbers" or "first" or "second") => (4, 1, 1),
            (_, "weights" or "squares") => (1, 1, 1),
            (_, "sums") => (1, 2, Rows),
            (_, "attended") => (1, 1, Heads * HeadDim),
            ("probe" or "pre_probe", "output") => (1, 1, Rows),
            _ => (1, Rows, Heads * HeadDim),
        };
        var info = Memory<TensorInfo>(1);
        *info = new TensorInfo { StructSize = (uint)sizeof(TensorInfo), Type = type, Data = Aligned(rows * columns), Rows = rows, Columns = columns };
        if (name == "second")
            *(int*)info->Data = 1;
        return (nint)info;
    }

    private LayerInfo* Layer()
    {
        var pages = Memory<nint>(1);
        *pages = (nint)Aligned(2 * Heads * KvStore.PageRows * HeadDim);
        var info = Memory<LayerInfo>(1);
        *info = new LayerInfo { StructSize = (uint)sizeof(LayerInfo), Type = 1, Pages = (void**)pages, Length = Rows, Heads = Heads, HeadDim = HeadDim };
        return info;
    }

    private PlanInfo* Plan()
    {
        var segments = Memory<QuerySegment>(2);
        var ranges = Memory<KeyRange>(2);
        segments[0] = new QuerySegment(0, Rows, 0, 2);
        segments[1] = new QuerySegment(Rows, Rows, 0, 0);
        ranges[0] = new KeyRange(0, 2, KeyRule.Full);
        ranges[1] = new KeyRange(2, Rows, KeyRule.Diagonal);
        var info = Memory<PlanInfo>(1);
        *info = new PlanInfo { StructSize = (uint)sizeof(PlanInfo), Segments = segments, SegmentCount = 2, Ranges = ranges, RangeCount = 2 };
        return info;
    }

    private nint BadStructure(string type, string bad) => type switch
    {
        "pv_tensor*" => (nint)BadTensor(bad),
        "pv_kv_layer*" => (nint)BadLayer(bad),
        _ => (nint)BadPlan(bad),
    };

    private TensorInfo* BadTensor(string bad)
    {
        var info = Memory<TensorInfo>(1);
        *info = new TensorInfo { StructSize = (uint)sizeof(TensorInfo), Type = 1, Data = Aligned(1 << 10), Rows = Rows, Columns = Heads * HeadDim };
        switch (bad)
        {
            case "no struct_size": info->StructSize = 0; break;
            case "no type": info->Type = 0; break;
            case "no data": info->Data = null; break;
            case "no rows": info->Rows = 0; break;
            case "negative columns": info->Columns = -1; break;
            case "short stride": info->Stride = 1; break;
            case "huge stride": info->Stride = 1L << 40; break;
            case "not aligned": info->Data = (byte*)info->Data + 2; break;
            default: (info->Rows, info->Columns) = (3, 5); break;
        }

        return info;
    }

    private LayerInfo* BadLayer(string bad)
    {
        LayerInfo* info = Layer();
        switch (bad)
        {
            case "no struct_size": info->StructSize = 8; break;
            case "no type": info->Type = 9; break;
            case "no pages": info->Pages = null; break;
            case "no page": *info->Pages = null; break;
            case "no rows": info->Length = 0; break;
            case "negative heads": info->Heads = -2; break;
            case "many heads": info->Heads = 3; break;
            case "huge heads": (info->Heads, info->HeadDim) = (1 << 16, 1 << 16); break;
            default: info->Capacity = 1; break;
        }

        return info;
    }

    private PlanInfo* BadPlan(string bad)
    {
        PlanInfo* info = Plan();
        switch (bad)
        {
            case "no struct_size": info->StructSize = 1; break;
            case "no segments": info->Segments = null; break;
            case "segment beyond ranges": info->RangeCount = 1; break;
            case "segments overlap": info->Segments[1] = new QuerySegment(1, 2, 0, 1); break;
            case "ranges overlap": info->Ranges[1] = info->Ranges[1] with { Start = 1 }; break;
            case "negative range": info->Ranges[0] = info->Ranges[0] with { Start = -1 }; break;
            case "unknown rule": info->Ranges[0] = info->Ranges[0] with { Rule = (KeyRule)3 }; break;
            case "unknown value": info->Ranges[0] = info->Ranges[0] with { Value = (ValueRule)3 }; break;
            case "no window": info->Ranges[0] = info->Ranges[0] with { Rule = KeyRule.Window }; break;
            case "unknown mask": info->Ranges[0] = info->Ranges[0] with { Heads = 0 }; break;
            default: (info->HeadMaskCount, info->HeadMaskWords) = (nuint.MaxValue, 1); break;
        }

        return info;
    }

    // Zeros at a multiple of 64 bytes.
    private void* Aligned(int floats)
    {
        byte* memory = Memory<byte>(floats * sizeof(float) + Alignment);
        return memory + (Alignment - (nuint)memory % Alignment) % Alignment;
    }
}
