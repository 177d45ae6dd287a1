using System.Globalization;
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

    /// <summary>The oldest architecture that the kernels run on: they need asynchronous copies and matrix products in bfloat16.</summary>
    public const int OldestArchitecture = 80;

    /// <summary>The UUID as nvidia-smi writes it: GPU-00112233-4455-….</summary>
    public string Id => $"GPU-{Uuid:D}";

    /// <summary>Every visible GPU.</summary>
    public static unsafe IReadOnlyList<CudaDeviceInfo> All(DriverApi api)
    {
        int count;
        api.Check(api.DeviceGetCount(&count), "cuDeviceGetCount");
        return [.. Enumerable.Range(0, count).Select(ordinal => Read(api, ordinal))];
    }

    /// <summary>The GPU that a name stands for: its number, or its UUID or the beginning of it, with or without "GPU-".</summary>
    /// <exception cref="CudaDeviceException">There is none of that name, or more than one.</exception>
    public static CudaDeviceInfo Find(DriverApi api, string name)
    {
        IReadOnlyList<CudaDeviceInfo> all = All(api);
        bool number = int.TryParse(name, NumberStyles.None, CultureInfo.InvariantCulture, out int ordinal) && ordinal < 100;
        string beginning = name.StartsWith("GPU-", StringComparison.OrdinalIgnoreCase) ? name : "GPU-" + name;
        CudaDeviceInfo[] found = [.. all.Where(device =>
            number ? device.Ordinal == ordinal : beginning.Length > 4 && device.Id.StartsWith(beginning, StringComparison.OrdinalIgnoreCase))];
        string there = all.Count == 0 ? "none" : string.Join(", ", all.Select(device => $"{device.Ordinal}: {device.Name}, {device.Id}"));
        return found.Length switch
        {
            1 => found[0],
            0 => throw new CudaDeviceException(name, $"there is no such GPU. Visible to this process: {there}"),
            _ => throw new CudaDeviceException(name, $"{found.Length} GPUs begin so: give more of the UUID. Visible to this process: {there}"),
        };
    }

    /// <summary>Refuses a GPU that the kernels do not run on.</summary>
    /// <exception cref="CudaDeviceException">It is older than <see cref="OldestArchitecture"/>.</exception>
    public void RequireSupported()
    {
        if (Architecture < OldestArchitecture)
        {
            throw new CudaDeviceException(
                $"{Ordinal} ({Name})",
                $"it is sm_{Architecture}, and the kernels need sm_{OldestArchitecture} (Ampere: A100, RTX 30) or newer. "
                + "Choose another GPU (--device cuda:N), or --device cpu");
        }
    }

    private static unsafe CudaDeviceInfo Read(DriverApi api, int ordinal)
    {
        int device;
        api.Check(api.DeviceGet(&device, ordinal), "cuDeviceGet");
        byte* name = stackalloc byte[256];
        api.Check(api.DeviceGetName(name, 256, device), "cuDeviceGetName");
        byte* uuid = stackalloc byte[16];
        api.Check(api.DeviceGetUuid(uuid, device), "cuDeviceGetUuid");
        nuint bytes;
        api.Check(api.DeviceTotalMem(&bytes, device), "cuDeviceTotalMem_v2");
        return new CudaDeviceInfo(
            device,
            Encoding.UTF8.GetString(new ReadOnlySpan<byte>(name, 256).TrimEnd((byte)0)),
            new Guid(new ReadOnlySpan<byte>(uuid, 16), bigEndian: true),
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
