namespace ParVts.Engine.Scheduling;

/// <summary>Measures the rows of the vision tower for a policy (<see cref="VisionState"/> tells what).</summary>
internal abstract class VisionMeasures
{
    public abstract float[] KeySimilarity(int[] rows, int[] others, RowMap? map);

    public abstract (float[] Products, float[] Cosines) NextBlockKeys();
}
