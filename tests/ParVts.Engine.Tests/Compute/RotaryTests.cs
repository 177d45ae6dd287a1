using ParVts.Engine.Compute;
using ParVts.Engine.Formats;

namespace ParVts.Engine.Tests.Compute;

/// <summary>Rotary frequencies and their scalings, against the published formulas.</summary>
public class RotaryTests
{
    private const int HeadDim = 128;

    [Test]
    public void Frequencies_fall_from_one_by_the_power_of_theta()
    {
        float[] plain = Frequencies(new RopeConfig(10000), 10);
        for (int i = 0; i < plain.Length; i++)
            Assert.That(plain[i], Is.EqualTo(Math.Pow(10000, -2.0 * i / HeadDim)).Within(1e-6 * plain[i]));
    }

    [Test]
    public void Linear_scaling_divides()
    {
        float[] plain = Frequencies(new RopeConfig(10000), 10);
        float[] scaled = Frequencies(new RopeConfig(10000) { Scaling = RopeScaling.Linear, Factor = 4 }, 10);
        Assert.That(scaled, Is.EqualTo(plain.Select(value => value / 4)).Within(1e-9f));
    }

    [Test]
    public void Dynamic_scaling_begins_beyond_the_trained_length()
    {
        var config = new RopeConfig(10000) { Scaling = RopeScaling.Dynamic, Factor = 2 };
        Assert.That(Frequencies(config, 4096), Is.EqualTo(Frequencies(new RopeConfig(10000), 4096)));

        // Twice the trained length: theta · (2·2 − 1)^(128/126).
        double theta = 10000 * Math.Pow(3, 128.0 / 126);
        Assert.That(Frequencies(config, 8192), Is.EqualTo(Frequencies(new RopeConfig(theta), 8192)).Within(1e-6f));
    }

    [Test]
    public void Llama3_scaling_keeps_short_waves_stretches_long_ones_and_ramps_between()
    {
        // Llama 3.1's own settings.
        var config = new RopeConfig(500000)
        {
            Scaling = RopeScaling.Llama3,
            Factor = 8,
            LowFrequencyFactor = 1,
            HighFrequencyFactor = 4,
            OriginalMaxPositions = 8192,
        };
        float[] plain = Frequencies(new RopeConfig(500000), 10);
        float[] scaled = Frequencies(config, 10);
        for (int i = 0; i < plain.Length; i++)
        {
            double wave = 2 * Math.PI / plain[i];
            double smooth = (8192 / wave - 1) / 3;
            double expected = wave < 2048 ? plain[i] : wave > 8192 ? plain[i] / 8 : (1 - smooth) * plain[i] / 8 + smooth * plain[i];
            Assert.That(scaled[i], Is.EqualTo(expected).Within(1e-6 * expected), $"frequency {i}");
        }

        Assert.That(scaled.Zip(plain).Count(pair => pair.First == pair.Second), Is.InRange(20, 50));
    }

    private static float[] Frequencies(RopeConfig config, int length)
    {
        float[] frequencies = new float[HeadDim / 2];
        new Rotary(config, HeadDim, 4096).ForLength(length, frequencies);
        return frequencies;
    }
}
