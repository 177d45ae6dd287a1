namespace ParVts.Engine.Formats;

/// <summary>The activation functions by the names that configs use.</summary>
internal static class Activations
{
    private static readonly (string Name, Activation Value)[] Known =
    [
        ("silu", Activation.Silu),
        ("swish", Activation.Silu),
        ("gelu", Activation.Gelu),
        ("gelu_pytorch_tanh", Activation.GeluTanh),
        ("gelu_new", Activation.GeluTanh),
        ("gelu_fast", Activation.GeluTanh),
        ("quick_gelu", Activation.QuickGelu),
        ("relu", Activation.Relu),
    ];

    public static Activation Parse(in Checked check, string property, string name)
    {
        foreach ((string known, Activation value) in Known)
        {
            if (known == name)
                return value;
        }

        throw check.Wrong(property, $"the activation '{name}' is not supported; supported are {string.Join(", ", Known.Select(entry => entry.Name))}");
    }
}
