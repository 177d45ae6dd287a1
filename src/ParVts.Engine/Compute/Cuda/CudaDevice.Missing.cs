using ParVts.Engine.Formats;

namespace ParVts.Engine.Compute.Cuda;

#pragma warning disable CS1591

/// <content>Operations whose kernels are still to come.</content>
public sealed unsafe partial class CudaDevice
{
    public override void Embed(in Tensor table, in Tensor ids, in Tensor output, bool accumulate = false) => throw new NotSupportedException();

    public override void MatMul(in Tensor x, in Tensor weight, in Tensor bias, in Tensor output, bool accumulate = false) => throw new NotSupportedException();

    public override void RotaryTable(in Tensor positions, in Tensor frequencies, in Tensor output) => throw new NotSupportedException();

    public override void RopeStore(in Tensor q, in Tensor k, in Tensor v, in Tensor table, in KvLayer layer, int firstRow) => throw new NotSupportedException();

    public override void DecodeAttention(in Tensor q, in KvLayer layer, float scale, in Tensor output) => throw new NotSupportedException();

    public override void Probe(in Tensor q, in KvLayer layer, AttentionPlan plan, float scale, in Tensor logSumExp, in Tensor rows, ProbeReduction reduction, in Tensor output) => throw new NotSupportedException();

    public override void Increment(in Tensor counts) => throw new NotSupportedException();

    public override void KeepKeys(in KvLayer layer, in Tensor rows, int first = 0) => throw new NotSupportedException();

    public override void Activate(in Tensor x, Activation function, in Tensor output) => throw new NotSupportedException();

    public override void GatedActivate(in Tensor gate, in Tensor up, Activation function, in Tensor output) => throw new NotSupportedException();

    public override void Convert(in Tensor x, in Tensor output) => throw new NotSupportedException();

    public override void Patchify(in Tensor pixels, int patchSize, in Tensor output) => throw new NotSupportedException();
}
