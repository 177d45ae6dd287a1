using System.Text;
using ParVts.Cuda.Native;

namespace ParVts.Cuda;

/// <summary>What a GPU is. Immutable; any thread.</summary>
/// <param name="Ordinal">Its number, as the driver counts the visible ones.</param>
/// <param name="Name">Its name.</param>
/// <param name="Uuid">What it is known by whatever the order.</param>
/// <param name="Architecture">Compute capability × 10: 80, 86, 89, 90 …</param>
/// <param name="Multiprocessors">Streaming multiprocessors.</param>
/// <param name="SharedMemoryPerBlock">Bytes of shared memory that a block may opt in to.</param>
/// <param name="TotalBytes">Bytes of device memory.</param>
public sealed record CudaDeviceInfo(
    int Ordinal, string Name, Guid Uuid, int Architecture, int Multiprocessors, int SharedMemoryPerBlock, long TotalBytes)
{
    // CUdevice_attribute.
    private const int MultiprocessorCount = 16;
    private const int ComputeCapabilityMajor = 75;
    private const int ComputeCapabilityMinor = 76;
    private const int MaxSharedMemoryPerBlockOptIn = 97;

    /// <summary>Every visible GPU.</summary>
    public static unsafe IReadOnlyList<CudaDeviceInfo> All(DriverApi api)
    {
        int count;
        api.Check(api.DeviceGetCount(&count), "cuDeviceGetCount");
        return [.. Enumerable.Range(0, count).Select(ordinal => Read(api, ordinal))];
    }

    private static unsafe CudaDeviceInfo Read(DriverApi api, int ordinal)
    {
        int device;
        api.Check(api.DeviceGet(&device, ordinal), "cuDeviceGet");
        byte* name = stackalloc byte[256];
        api.Check(api.DeviceGetName(name, 256, device), "cuDeviceGetName");
        Guid uuid;
        api.Check(api.DeviceGetUuid(&uuid, device), "cuDeviceGetUuid");
        nuint bytes;
        api.Check(api.DeviceTotalMem(&bytes, device), "cuDeviceTotalMem_v2");
        return new CudaDeviceInfo(
            device,
            Encoding.UTF8.GetString(new ReadOnlySpan<byte>(name, 256).TrimEnd((byte)0)),
            uuid,
            10 * Attribute(api, ComputeCapabilityMajor, device) + Attribute(api, ComputeCapabilityMinor, device),
            Attribute(api, MultiprocessorCount, device),
            Attribute(api, MaxSharedMemoryPerBlockOptIn, device),
            (long)bytes);
    }

    private static unsafe int Attribute(DriverApi api, int attribute, int device)
    {
        int value;
        api.Check(api.DeviceGetAttribute(&value, attribute, device), "cuDeviceGetAttribute");
        return value;
    }
}
