using System.Numerics.Tensors;
using ParVts.Engine.Generation;
using ParVts.Engine.Scheduling;
using Tensor = ParVts.Engine.Compute.Tensor;

namespace ParVts.Runner.Evaluation;

/// <summary>
/// The visual rows that enter the decoder's first layer, merged and left out before it as the policy does; and how well they stand for
/// those of dense. One thread at a time.
/// </summary>
internal sealed class VisualFeatures
{
    // What enters layer 0, in the names of 'parvts dump'.
    private const string Stage = "hidden.0";

    private readonly List<float[]> _rows = [];

    /// <summary>Notes them during a prefill of the session.</summary>
    /// <param name="session">A session that is not at work.</param>
    /// <param name="run">Its prefill.</param>
    public static VisualFeatures During(Session session, Action run)
    {
        var features = new VisualFeatures();
        session.Sink = (stage, tensor) =>
        {
            if (stage == Stage)
                features.Take(session, tensor);
        };
        try
        {
            run();
        }
        finally
        {
            session.Sink = null;
        }

        return features;
    }

    /// <summary>
    /// What is lost where each of these rows is replaced by the one of <paramref name="kept"/> that is nearest to it: the sum of the squared
    /// distances, as a share of the rows' own spread (the same sum to their mean). 0 where all are there; about 1 where the rows that are
    /// left say no more than the mean does; not a number where none are left.
    /// </summary>
    public double LossIn(VisualFeatures kept)
    {
        if (_rows.Count == 0 || kept._rows.Count == 0)
            return double.NaN;
        float[] mean = new float[_rows[0].Length];
        foreach (float[] row in _rows)
            TensorPrimitives.Add(mean, row, mean);
        TensorPrimitives.Divide(mean, _rows.Count, mean);
        double spread = _rows.Sum(row => Squared(row, mean));
        double lost = _rows.Sum(row => kept._rows.Min(other => Squared(row, other)));
        return lost == 0 ? 0 : lost / spread;
    }

    private void Take(Session session, Tensor tensor)
    {
        _rows.Clear();
        ReadOnlySpan<Row> rows = session.Rows.Rows;
        for (int row = 0; row < rows.Length; row++)
        {
            if (rows[row].Role != RowRole.Visual)
                continue;
            float[] values = new float[tensor.Columns];
            session.Device.Download(tensor.Slice(row, 1), values);
            _rows.Add(values);
        }
    }

    private static double Squared(float[] a, float[] b)
    {
        double distance = TensorPrimitives.Distance<float>(a, b);
        return distance * distance;
    }
}
