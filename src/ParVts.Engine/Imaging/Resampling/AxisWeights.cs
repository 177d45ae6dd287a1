namespace ParVts.Engine.Imaging.Resampling;

/// <summary>
/// The taps of one pass: for each output of a window, the inputs it is made of and their weights in fixed point. The
/// arithmetic, from the double-precision filter to the rounding, is Pillow's, so that results agree to the last bit.
/// The input may be longer than the picture (padding in one colour); weights of inputs beyond the picture are summed up.
/// </summary>
internal sealed class AxisWeights
{
    /// <summary>Fractional bits of a weight.</summary>
    public const int FractionBits = 22;

    /// <summary>Half of one, in fixed point: added before the fraction is cut off.</summary>
    public const int Half = 1 << (FractionBits - 1);

    private readonly int[] _first;
    private readonly int[] _offset;
    private readonly int[] _weights;
    private readonly int[] _outside;

    private AxisWeights(int count)
    {
        _first = new int[count];
        _offset = new int[count + 1];
        _outside = new int[count];
        _weights = [];
    }

    private AxisWeights(AxisWeights frame, int[] weights)
        : this(0)
    {
        (_first, _offset, _outside) = (frame._first, frame._offset, frame._outside);
        _weights = weights;
    }

    /// <summary>The number of outputs.</summary>
    public int Count => _first.Length;

    /// <summary>The first picture row or column that any output uses.</summary>
    public int UsedFrom { get; private init; }

    /// <summary>One beyond the last picture row or column that any output uses; not above <see cref="UsedFrom"/> where none is.</summary>
    public int UsedTo { get; private init; }

    /// <summary>The first input of output <paramref name="i"/>, in picture coordinates.</summary>
    public int First(int i) => _first[i];

    /// <summary>The weights of output <paramref name="i"/> for the inputs from <see cref="First"/> on.</summary>
    public ReadOnlySpan<int> Weights(int i) => _weights.AsSpan(_offset[i], _offset[i + 1] - _offset[i]);

    /// <summary>The sum of the weights of output <paramref name="i"/> that fall on padding.</summary>
    public int Outside(int i) => _outside[i];

    /// <summary>Makes the weights of a pass.</summary>
    /// <param name="filter">Any but nearest.</param>
    /// <param name="axis">The input: its length with padding, and where the picture lies in it.</param>
    /// <param name="output">The full length of the output.</param>
    /// <param name="from">The first output wanted.</param>
    /// <param name="count">The number of outputs wanted.</param>
    public static AxisWeights Make(ResampleFilter filter, PaddedAxis axis, long output, long from, int count)
    {
        (double support, Func<double, double> kernel) = Kernel(filter);
        double scale = (double)axis.Length / output;
        double stretch = Math.Max(scale, 1.0);
        support *= stretch;
        double inverse = 1.0 / stretch;

        var frame = new AxisWeights(count);
        var weights = new List<int>();
        var exact = new List<double>();
        int usedFrom = int.MaxValue, usedTo = 0;
        for (int i = 0; i < count; i++)
        {
            double centre = (from + i + 0.5) * scale;
            int begin = Math.Max(0, (int)(centre - support + 0.5));
            int end = Math.Min(axis.Length, (int)(centre + support + 0.5));
            exact.Clear();
            double sum = 0;
            for (int x = 0; x < end - begin; x++)
            {
                double weight = kernel((x + begin - centre + 0.5) * inverse);
                exact.Add(weight);
                sum += weight;
            }

            int firstInside = Math.Clamp(axis.Offset, begin, Math.Max(begin, end));
            frame._first[i] = firstInside - axis.Offset;
            for (int x = 0; x < exact.Count; x++)
            {
                int weight = ToFixed(sum != 0 ? exact[x] / sum : exact[x]);
                if (begin + x >= axis.Offset && begin + x < axis.Offset + axis.Size)
                    weights.Add(weight);
                else
                    frame._outside[i] += weight;
            }

            frame._offset[i + 1] = weights.Count;
            if (weights.Count > frame._offset[i])
            {
                usedFrom = Math.Min(usedFrom, frame._first[i]);
                usedTo = Math.Max(usedTo, frame._first[i] + weights.Count - frame._offset[i]);
            }
        }

        return new AxisWeights(frame, [.. weights]) { UsedFrom = Math.Min(usedFrom, usedTo), UsedTo = usedTo };
    }

    private static int ToFixed(double weight) => (int)(weight * (1 << FractionBits) + (weight < 0 ? -0.5 : 0.5));

    private static (double Support, Func<double, double> Kernel) Kernel(ResampleFilter filter) => filter switch
    {
        ResampleFilter.Box => (0.5, static x => x is > -0.5 and <= 0.5 ? 1 : 0),
        ResampleFilter.Bilinear => (1, static x => Math.Abs(x) < 1 ? 1 - Math.Abs(x) : 0),
        ResampleFilter.Hamming => (1, Hamming),
        ResampleFilter.Bicubic => (2, Bicubic),
        ResampleFilter.Lanczos => (3, static x => x is >= -3 and < 3 ? Sinc(x) * Sinc(x / 3) : 0),
        _ => throw new ArgumentOutOfRangeException(nameof(filter), filter, "is no filter with weights."),
    };

    private static double Bicubic(double x)
    {
        const double A = -0.5;
        x = Math.Abs(x);
        if (x < 1)
            return ((A + 2) * x - (A + 3)) * x * x + 1;
        return x < 2 ? (((x - 5) * x + 8) * x - 4) * A : 0;
    }

    private static double Hamming(double x)
    {
        x = Math.Abs(x);
        if (x == 0)
            return 1;
        if (x >= 1)
            return 0;
        x *= Math.PI;
        return Math.Sin(x) / x * (0.54 + 0.46 * Math.Cos(x));
    }

    private static double Sinc(double x)
    {
        if (x == 0)
            return 1;
        x *= Math.PI;
        return Math.Sin(x) / x;
    }
}

/// <summary>One side of a picture that may lie in a larger frame of padding.</summary>
/// <param name="Length">The frame's length.</param>
/// <param name="Offset">Where in it the picture begins.</param>
/// <param name="Size">The picture's own length.</param>
internal readonly record struct PaddedAxis(int Length, int Offset, int Size)
{
    public static PaddedAxis None(int size) => new(size, 0, size);
}
