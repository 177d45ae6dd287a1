namespace ParVts.GpuSim.Ptx;

/// <summary>PTX that the simulator cannot load: the message names the construct and its lines.</summary>
public sealed class PtxException : Exception
{
    /// <summary>An error at a line of the PTX text (1-based; 0: not known).</summary>
    public PtxException(string message, int ptxLine) : base($"PTX line {ptxLine}: {message}") => PtxLine = ptxLine;

    /// <summary>The line of the PTX text, 1-based.</summary>
    public int PtxLine { get; }
}
