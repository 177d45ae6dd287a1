namespace ParVts.GpuSim.Driver;

// What cuBLAS asks of the driver beneath it. The lock is held.
public sealed partial class SimDriver
{
    internal nint CreateCublas() => Make(new SimCublasHandle());

    internal int DestroyCublas(nint handle) => Destroy<SimCublasHandle>(handle);

    internal SimCublasHandle CublasOf(nint handle) => Get<SimCublasHandle>(handle);

    internal void CheckStream(nint stream) => _ = QueueOf(stream);

    internal void CountProduct() => _counters.MatrixProducts++;
}
