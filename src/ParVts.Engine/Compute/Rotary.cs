using ParVts.Engine.Formats;

namespace ParVts.Engine.Compute;

/// <summary>Rotary frequencies of a model, in float32 as the published models compute them. Immutable; any thread.</summary>
public sealed class Rotary
{
    private readonly RopeConfig _config;
    private readonly int _trained;
    private readonly float[] _frequencies;

    /// <summary>Computes the frequencies of a head of <paramref name="headDim"/> elements.</summary>
    /// <param name="config">Theta and scaling.</param>
    /// <param name="headDim">Elements of a head; even.</param>
    /// <param name="maxPositions">max_position_embeddings, for dynamic scaling.</param>
    public Rotary(RopeConfig config, int headDim, int maxPositions)
    {
        _config = config;
        _trained = config.OriginalMaxPositions > 0 ? config.OriginalMaxPositions : maxPositions;
        HeadDim = headDim;
        _frequencies = new float[headDim / 2];
        Fill(_frequencies, config.Theta);
        if (config.Scaling == RopeScaling.Linear)
            ScaleLinear(_frequencies, (float)config.Factor);
        else if (config.Scaling == RopeScaling.Llama3)
            ScaleLlama3(_frequencies, config, _trained);
    }

    /// <summary>Elements of a head.</summary>
    public int HeadDim { get; }

    /// <summary>[head_dim / 2]: the frequencies of sequences within the trained length.</summary>
    public IReadOnlyList<float> Frequencies => _frequencies;

    /// <summary>
    /// Writes the frequencies of a sequence of <paramref name="length"/> positions: the same for every length, except
    /// under dynamic scaling beyond the trained length. Allocates nothing.
    /// </summary>
    /// <param name="length">The largest position, plus one.</param>
    /// <param name="frequencies">[head_dim / 2].</param>
    public void ForLength(int length, Span<float> frequencies)
    {
        if (_config.Scaling != RopeScaling.Dynamic || length <= _trained)
        {
            _frequencies.CopyTo(frequencies);
            return;
        }

        // Dynamic NTK: the base grows with the length, as in transformers' "dynamic" rope type.
        double stretch = _config.Factor * length / _trained - (_config.Factor - 1);
        Fill(frequencies, _config.Theta * Math.Pow(stretch, HeadDim / (HeadDim - 2.0)));
    }

    private void Fill(Span<float> frequencies, double theta)
    {
        for (int i = 0; i < frequencies.Length; i++)
            frequencies[i] = 1f / (float)Math.Pow((float)theta, (float)(2 * i) / HeadDim);
    }

    private static void ScaleLinear(float[] frequencies, float factor)
    {
        for (int i = 0; i < frequencies.Length; i++)
            frequencies[i] /= factor;
    }

    // The Llama 3.1 rule: wavelengths beyond the trained length are stretched by the factor, short ones stay, with a
    // linear ramp between.
    private static void ScaleLlama3(float[] frequencies, RopeConfig config, int trained)
    {
        double longest = trained / config.LowFrequencyFactor;
        double shortest = trained / config.HighFrequencyFactor;
        for (int i = 0; i < frequencies.Length; i++)
        {
            double wavelength = 2 * Math.PI / frequencies[i];
            if (wavelength < shortest)
                continue;
            double scaled = frequencies[i] / config.Factor;
            if (wavelength <= longest)
            {
                double smooth = (trained / wavelength - config.LowFrequencyFactor)
                    / (config.HighFrequencyFactor - config.LowFrequencyFactor);
                scaled = (1 - smooth) * scaled + smooth * frequencies[i];
            }

            frequencies[i] = (float)scaled;
        }
    }
}
