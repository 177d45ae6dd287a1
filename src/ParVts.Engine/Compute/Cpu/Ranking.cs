namespace ParVts.Engine.Compute.Cpu;

/// <summary>Choices by rank, and what follows from them; without allocating.</summary>
internal static unsafe class Ranking
{
    /// <summary>See <see cref="ComputeDevice.SelectTop"/>.</summary>
    public static void Top(in Tensor scores, int offset, in Tensor kept, in Tensor rest)
    {
        // The key of the last one that is kept, bit by bit: the largest that so many keys reach.
        int wanted = kept.Columns;
        uint least = 0;
        for (uint bit = 1u << 31; bit != 0 && wanted > 0; bit >>= 1)
        {
            if (CountFrom(scores, least | bit) >= wanted)
                least |= bit;
        }

        int ties = wanted - (least == uint.MaxValue || wanted == 0 ? 0 : CountFrom(scores, least + 1));
        int inside = 0;
        int outside = 0;
        for (int i = 0; i < scores.Columns; i++)
        {
            uint key = Key(scores.Floats[i]);
            bool stays = wanted > 0 && (key > least || (key == least && ties-- > 0));
            if (stays)
                kept.Integers[inside++] = offset + i;
            else if (!rest.IsEmpty)
                rest.Integers[outside++] = offset + i;
        }
    }

    /// <summary>See <see cref="ComputeDevice.ResolveRows"/>.</summary>
    public static void Resolve(in Tensor template, in Tensor places, in Tensor rows, in Tensor output)
    {
        for (int i = 0; i < template.Columns; i++)
        {
            int row = template.Integers[i];
            output.Integers[i] = row >= 0 ? row : rows.Integers[places.Integers[-1 - row]];
        }
    }

    /// <summary>See <see cref="ComputeDevice.ScoreShare"/>.</summary>
    public static void Share(in Tensor scores, in Tensor places, in Tensor output)
    {
        double held = 0;
        double all = 0;
        for (int i = 0; i < places.Columns; i++)
            held += scores.Floats[places.Integers[i]];
        for (int i = 0; i < scores.Columns; i++)
            all += scores.Floats[i];
        new Span<float>(output.Floats, output.Columns).Fill((float)(held / all));
    }

    private static int CountFrom(in Tensor scores, uint least)
    {
        int count = 0;
        for (int i = 0; i < scores.Columns; i++)
            count += Key(scores.Floats[i]) >= least ? 1 : 0;
        return count;
    }

    // Larger for larger numbers, the same for both zeros; a NaN counts as -infinity.
    private static uint Key(float score)
    {
        uint bits = BitConverter.SingleToUInt32Bits(float.IsNaN(score) ? float.NegativeInfinity : score + 0f);
        return (int)bits < 0 ? ~bits : bits | 0x8000_0000;
    }
}
