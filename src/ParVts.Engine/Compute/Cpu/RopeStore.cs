namespace ParVts.Engine.Compute.Cpu;

/// <summary>Rotary positions, and writing keys and values into their pages.</summary>
internal static unsafe class RopeStore
{
    /// <summary>Rows [from, to) of cosines and sines, in float32 as the published models compute them.</summary>
    public static void Table(in Tensor positions, in Tensor frequencies, in Tensor output)
    {
        int half = frequencies.Columns;
        for (int row = 0; row < output.Rows; row++)
        {
            float position = positions.Integers[(long)row * positions.Stride];
            float* cosines = output.Floats + (long)row * output.Stride;
            for (int i = 0; i < half; i++)
            {
                float angle = position * frequencies.Floats[i];
                (cosines[half + i], cosines[i]) = MathF.SinCos(angle);
            }
        }
    }

    /// <summary>Rotates q in place, stores rotated k, and v; see <see cref="ComputeDevice.RopeStore"/>.</summary>
    public static void Run(
        in Tensor q, in Tensor k, in Tensor v, in Tensor table, in KvLayer layer, int firstRow, int from, int to)
    {
        int headDim = layer.HeadDim;
        int padded = layer.PaddedHeadDim;
        for (int row = from; row < to; row++)
        {
            float* angles = table.IsEmpty ? null : table.Floats + (long)row * table.Stride;
            if (angles != null && !q.IsEmpty)
            {
                float* query = q.Floats + (long)row * q.Stride;
                for (int head = 0; head < q.Columns / headDim; head++)
                    Rotate(query + head * headDim, query + head * headDim, angles, headDim);
            }

            if (k.IsEmpty)
                continue;
            int page = (firstRow + row) / KvStore.PageRows;
            int place = (firstRow + row) % KvStore.PageRows * padded;
            for (int head = 0; head < layer.Heads; head++)
            {
                float* key = k.Floats + (long)row * k.Stride + head * headDim;
                float* value = v.Floats + (long)row * v.Stride + head * headDim;
                float* keyPlace = layer.Keys(page, head) + place;
                float* valuePlace = layer.Values(page, head) + place;
                if (angles != null)
                    Rotate(key, keyPlace, angles, headDim);
                else
                    Copy(key, keyPlace, headDim);
                Copy(value, valuePlace, headDim);
                new Span<float>(keyPlace + headDim, padded - headDim).Clear();
                new Span<float>(valuePlace + headDim, padded - headDim).Clear();
            }
        }
    }

    private static void Copy(float* source, float* destination, int count) =>
        new ReadOnlySpan<float>(source, count).CopyTo(new Span<float>(destination, count));

    // The halves of a head are the two coordinates (transformers' rotate_half), not its even and odd elements.
    private static void Rotate(float* source, float* destination, float* angles, int headDim)
    {
        int half = headDim / 2;
        for (int i = 0; i < half; i++)
        {
            float x = source[i];
            float y = source[half + i];
            float cosine = angles[i];
            float sine = angles[half + i];
            destination[i] = x * cosine - y * sine;
            destination[half + i] = y * cosine + x * sine;
        }
    }
}
