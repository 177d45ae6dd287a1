namespace ParVts.Engine.Formats;

/// <summary>Rotary settings in their old spelling (rope_theta, rope_scaling) and the new one (rope_parameters).</summary>
internal static class RopeConfigReader
{
    public static RopeConfig Convert(TextConfigJson json, int positions, string prefix, in Checked check)
    {
        string where = prefix + (json.RopeParameters is null ? "rope_scaling" : "rope_parameters");
        RopeJson rope = json.RopeParameters ?? json.RopeScaling ?? new RopeJson();
        double theta = check.Number(
            rope.RopeTheta is null ? prefix + "rope_theta" : where + ".rope_theta", rope.RopeTheta ?? json.RopeTheta ?? 10000.0, 1, 1e15);
        if ((rope.PartialRotaryFactor ?? json.PartialRotaryFactor ?? 1.0) != 1.0)
            throw check.Wrong(prefix + "partial_rotary_factor", "rotating a part of each head is not supported");

        RopeScaling scaling = (rope.RopeType ?? rope.Type ?? "default") switch
        {
            "default" => RopeScaling.Default,
            "linear" => RopeScaling.Linear,
            "dynamic" => RopeScaling.Dynamic,
            "llama3" => RopeScaling.Llama3,
            string other => throw check.Wrong(where + ".rope_type", $"the scaling '{other}' is not supported; supported are default, linear, dynamic, llama3"),
        };
        if (scaling == RopeScaling.Default)
            return new RopeConfig(theta) { OriginalMaxPositions = positions };

        bool llama3 = scaling == RopeScaling.Llama3;
        double low = Given(rope.LowFreqFactor, !llama3, 1.0, where + ".low_freq_factor", check);
        double high = Given(rope.HighFreqFactor, !llama3, 4.0, where + ".high_freq_factor", check);
        if (llama3 && high <= low)
            throw check.Wrong(where + ".high_freq_factor", $"is {high}, but must be greater than low_freq_factor, {low}");
        if (llama3 && rope.OriginalMaxPositionEmbeddings is null)
            throw check.Wrong(where + ".original_max_position_embeddings", "is missing; llama3 scaling needs it");
        return new RopeConfig(theta)
        {
            Scaling = scaling,
            Factor = check.Number(where + ".factor", rope.Factor ?? throw check.Wrong(where + ".factor", "is missing"), 1, 1e6),
            LowFrequencyFactor = low,
            HighFrequencyFactor = high,
            OriginalMaxPositions = check.Integer(
                where + ".original_max_position_embeddings", rope.OriginalMaxPositionEmbeddings ?? positions, 1, 1 << 24),
        };
    }

    private static double Given(double? value, bool optional, double missing, string property, in Checked check)
    {
        if (value is null && !optional)
            throw check.Wrong(property, "is missing; llama3 scaling needs it");
        return check.Number(property, value ?? missing, 1e-6, 1e6);
    }
}
