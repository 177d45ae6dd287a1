using ParVts.Engine.Formats;

namespace ParVts.Engine.Compute.Cuda;

#pragma warning disable CS1591

/// <content>Operations whose kernels are still to come.</content>
public sealed unsafe partial class CudaDevice
{
    public override void SegmentAttention(in Tensor q, in KvLayer layer, AttentionPlan plan, float scale, in Tensor output, in Tensor logSumExp = default) => throw new NotSupportedException();
}
