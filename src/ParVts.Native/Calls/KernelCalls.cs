using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using ParVts.Engine.Compute;
using ParVts.Engine.Formats;
using ParVts.Native.Items;

namespace ParVts.Native.Calls;

/// <summary>
/// Operations on a host's own memory (contract A3): arguments are checked as far as the host's side of them goes, and handed to
/// <see cref="ComputeDevice"/>. Nothing is allocated.
/// </summary>
internal static unsafe class KernelCalls
{
    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int Open(byte* device, void* context, void* stream, ulong options, ulong* kernels, ErrorInfo* error)
    {
        try
        {
            Call.Begin(error);
            Call.Require(kernels, "kernels");
            *kernels = 0;
            *kernels = Handles.Add(KernelsItem.Open(
                Caller.Read(device, "device"), (nint)context, (nint)stream, OptionSet.Get<KernelOptionSet>(options, "kernels")));
            return Call.Done(error);
        }
        catch (Exception failure)
        {
            return Call.Fail(error, failure);
        }
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int Close(ulong kernels, ErrorInfo* error)
    {
        try
        {
            Call.Begin(error);
            Handles.Close<KernelsItem>(kernels);
            return Call.Done(error);
        }
        catch (Exception failure)
        {
            return Call.Fail(error, failure);
        }
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int CreatePlan(PlanInfo* description, ulong* plan, ErrorInfo* error)
    {
        try
        {
            Call.Begin(error);
            Call.Require(plan, "plan");
            *plan = 0;
            *plan = Handles.Add(PlanItem.Create(description));
            return Call.Done(error);
        }
        catch (Exception failure)
        {
            return Call.Fail(error, failure);
        }
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int ClosePlan(ulong plan, ErrorInfo* error)
    {
        try
        {
            Call.Begin(error);
            Handles.Close<PlanItem>(plan);
            return Call.Done(error);
        }
        catch (Exception failure)
        {
            return Call.Fail(error, failure);
        }
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int SegmentAttention(
        ulong kernels, TensorInfo* q, LayerInfo* layer, ulong plan, float scale, TensorInfo* output, TensorInfo* logSumExp, ErrorInfo* error)
    {
        try
        {
            return Run(
                error, new Arguments { Kernels = kernels, Q = q, Layer = layer, Plan = plan, Scale = scale, Output = output, LogSumExp = logSumExp }, static (device, given) =>
            {
                Attention attention = given.Attention();
                Tensor output = TensorInfo.Read(given.Output, "output", attention.Layer.Type);
                Tensor sums = given.LogSumExp == null ? default : given.ReadLogSumExp(attention);
                device.SegmentAttention(attention.Q, attention.Layer, given.PlanOf(), attention.Scale, output, sums);
            });
        }
        catch (Exception failure)
        {
            return Call.Fail(error, failure);
        }
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int DecodeAttention(ulong kernels, TensorInfo* q, LayerInfo* layer, float scale, TensorInfo* output, ErrorInfo* error)
    {
        try
        {
            return Run(
                error, new Arguments { Kernels = kernels, Q = q, Layer = layer, Scale = scale, Output = output }, static (device, given) =>
            {
                Attention attention = given.Attention(step: true);
                device.DecodeAttention(attention.Q, attention.Layer, attention.Scale, TensorInfo.Read(given.Output, "output", attention.Layer.Type));
            });
        }
        catch (Exception failure)
        {
            return Call.Fail(error, failure);
        }
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int Probe(
        ulong kernels, TensorInfo* q, LayerInfo* layer, ulong plan, float scale, TensorInfo* logSumExp, TensorInfo* rows, int reduction,
        TensorInfo* output, ErrorInfo* error)
    {
        try
        {
            return Run(
                error, new Arguments { Kernels = kernels, Q = q, Layer = layer, Plan = plan, Scale = scale, LogSumExp = logSumExp, Rows = rows, Reduction = reduction, Output = output },
                static (device, given) =>
            {
                Attention attention = given.Attention();
                device.Probe(
                    attention.Q, attention.Layer, given.PlanOf(), attention.Scale, given.ReadLogSumExp(attention), given.ReadRows(), given.ReductionOf(),
                    TensorInfo.Read(given.Output, "output", TensorType.F32));
            });
        }
        catch (Exception failure)
        {
            return Call.Fail(error, failure);
        }
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int PreProbe(
        ulong kernels, TensorInfo* q, LayerInfo* layer, ulong plan, float scale, TensorInfo* rows, int reduction, TensorInfo* output, ErrorInfo* error)
    {
        try
        {
            return Run(
                error, new Arguments { Kernels = kernels, Q = q, Layer = layer, Plan = plan, Scale = scale, Rows = rows, Reduction = reduction, Output = output },
                static (device, given) =>
            {
                Attention attention = given.Attention();
                device.PreProbe(
                    attention.Q, attention.Layer, given.PlanOf(), attention.Scale, given.ReadRows(), given.ReductionOf(),
                    TensorInfo.Read(given.Output, "output", TensorType.F32));
            });
        }
        catch (Exception failure)
        {
            return Call.Fail(error, failure);
        }
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int ValueProbe(
        ulong kernels, TensorInfo* q, TensorInfo* attended, LayerInfo* layer, ulong plan, float scale, TensorInfo* logSumExp, TensorInfo* rows,
        TensorInfo* sums, TensorInfo* squares, ErrorInfo* error)
    {
        try
        {
            return Run(
                error,
                new Arguments { Kernels = kernels, Q = q, First = attended, Layer = layer, Plan = plan, Scale = scale, LogSumExp = logSumExp, Rows = rows, Output = sums, Second = squares },
                static (device, given) =>
            {
                Attention attention = given.Attention();
                device.ValueProbe(
                    attention.Q, TensorInfo.Read(given.First, "attended", TensorType.F32), attention.Layer, given.PlanOf(), attention.Scale,
                    given.ReadLogSumExp(attention), given.ReadRows(), TensorInfo.Read(given.Output, "sums", TensorType.F32),
                    TensorInfo.ReadRow(given.Second, "squares", TensorType.F32));
            });
        }
        catch (Exception failure)
        {
            return Call.Fail(error, failure);
        }
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int PathWeights(
        ulong kernels, TensorInfo* logSumExp, TensorInfo* first, TensorInfo* second, TensorInfo* weights, ErrorInfo* error)
    {
        try
        {
            return Run(
                error, new Arguments { Kernels = kernels, LogSumExp = logSumExp, First = first, Second = second, Output = weights }, static (device, given) =>
                device.PathWeights(
                    TensorInfo.Read(given.LogSumExp, "log_sum_exp", TensorType.F32), TensorInfo.ReadRow(given.First, "first", TensorType.I32),
                    TensorInfo.ReadRow(given.Second, "second", TensorType.I32), TensorInfo.ReadRow(given.Output, "weights", TensorType.F32)));
        }
        catch (Exception failure)
        {
            return Call.Fail(error, failure);
        }
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int FusePaths(ulong kernels, TensorInfo* x, TensorInfo* first, TensorInfo* second, TensorInfo* weights, ErrorInfo* error)
    {
        try
        {
            return Run(
                error, new Arguments { Kernels = kernels, Q = x, First = first, Second = second, Output = weights }, static (device, given) =>
                device.FusePaths(
                    TensorInfo.Read(given.Q, "x", TensorType.F32), TensorInfo.ReadRow(given.First, "first", TensorType.I32),
                    TensorInfo.ReadRow(given.Second, "second", TensorType.I32), TensorInfo.ReadRow(given.Output, "weights", TensorType.F32)));
        }
        catch (Exception failure)
        {
            return Call.Fail(error, failure);
        }
    }

    private static int Run(ErrorInfo* error, Arguments given, Action<ComputeDevice, Arguments> operation)
    {
        Call.Begin(error);
        KernelsItem item = Handles.Get<KernelsItem>(given.Kernels);
        given.OnHost = item.OnHost;
        ComputeDevice device = item.Enter();
        try
        {
            operation(device, given);
        }
        catch (ArgumentException refused)
        {
            // The operations' own checks of shapes.
            throw new CallException(Status.InvalidArgument, refused.Message);
        }
        finally
        {
            item.Leave();
        }

        return Call.Done(error);
    }

    /// <summary>What every attention has.</summary>
    private readonly record struct Attention(Tensor Q, KvLayer Layer, float Scale, int Heads);

    /// <summary>What a call was given; each uses some of it.</summary>
    private struct Arguments
    {
        public ulong Kernels;
        public ulong Plan;
        public TensorInfo* Q;
        public LayerInfo* Layer;
        public TensorInfo* LogSumExp;
        public TensorInfo* Rows;
        public TensorInfo* First;
        public TensorInfo* Second;
        public TensorInfo* Output;
        public float Scale;
        public int Reduction;
        public bool OnHost;

        public readonly AttentionPlan PlanOf() => Handles.Get<PlanItem>(Plan).Plan;

        public readonly Attention Attention(bool step = false)
        {
            Tensor q = TensorInfo.Read(Q, "q", TensorType.F32);
            KvLayer layer = LayerInfo.Read(Layer, OnHost, step);
            if (q.Columns % (layer.Heads * layer.HeadDim) != 0)
                throw new CallException(Status.InvalidArgument, $"q has {q.Columns} columns; a multiple of the layer's {layer.Heads} heads of {layer.HeadDim} is needed");
            if (!float.IsFinite(Scale) || Scale <= 0)
                throw new CallException(Status.InvalidArgument, "scale must be positive and finite");
            return new Attention(q, layer, Scale, q.Columns / layer.HeadDim);
        }

        public readonly Tensor ReadLogSumExp(in Attention attention)
        {
            Tensor sums = TensorInfo.Read(LogSumExp, "log_sum_exp", TensorType.F32);
            return sums.Rows == attention.Q.Rows && sums.Columns == attention.Heads
                ? sums
                : throw new CallException(
                    Status.InvalidArgument, $"log_sum_exp is [{sums.Rows}, {sums.Columns}]; it must be [{attention.Q.Rows}, {attention.Heads}]: rows and query heads");
        }

        public readonly Tensor ReadRows() => TensorInfo.ReadRow(Rows, "row_numbers", TensorType.I32);

        public readonly ProbeReduction ReductionOf() => Reduction is >= 0 and <= (int)ProbeReduction.RowsAndHeads
            ? (ProbeReduction)Reduction
            : throw new CallException(Status.InvalidArgument, $"reduction is {Reduction}; there are PV_MEAN_HEADS, PV_MEAN_ROWS, PV_MEAN_ALL");
    }
}
