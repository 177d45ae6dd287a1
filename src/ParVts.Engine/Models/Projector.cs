using ParVts.Engine.Compute;
using ParVts.Engine.Formats;

namespace ParVts.Engine.Models;

/// <summary>LLaVA-1.5's projector (arXiv 2310.03744, section 3.2): linear, activation, linear. Immutable; any thread.</summary>
internal sealed class Projector
{
    private readonly Tensor _first;
    private readonly Tensor _firstBias;
    private readonly Tensor _second;
    private readonly Tensor _secondBias;
    private readonly Activation _activation;

    private Projector(WeightBinder binder, ModelConfig config, string prefix)
    {
        int d = config.Text.HiddenSize;
        _activation = config.ProjectorActivation;
        _first = binder.Matrix(prefix + "linear_1.weight", d, config.Vision.HiddenSize);
        _second = binder.Matrix(prefix + "linear_2.weight", d, d);
        if (!config.ProjectorBias)
            return;
        _firstBias = binder.Vector(prefix + "linear_1.bias", d);
        _secondBias = binder.Vector(prefix + "linear_2.bias", d);
    }

    /// <summary>Binds it under any of the published namings.</summary>
    public static Projector Bind(WeightBinder binder, ModelConfig config) => new(
        binder,
        config,
        binder.FindPrefix("projector", "linear_1.weight", "multi_modal_projector.", "model.multi_modal_projector."));

    /// <summary>output = the visual tokens of <paramref name="features"/> [V, Dv], [V, D].</summary>
    /// <param name="device">The device.</param>
    /// <param name="features">[V, Dv] as a matrix takes them.</param>
    /// <param name="hidden">[V, D] F32, to work in.</param>
    /// <param name="inner">[V, D] as a matrix takes them; may be <paramref name="hidden"/> where the types agree.</param>
    /// <param name="output">[V, D] F32.</param>
    public void Run(ComputeDevice device, in Tensor features, in Tensor hidden, in Tensor inner, in Tensor output)
    {
        device.MatMul(features, _first, _firstBias, hidden);
        device.Activate(hidden, _activation, inner);
        device.MatMul(inner, _second, _secondBias, output);
    }
}
