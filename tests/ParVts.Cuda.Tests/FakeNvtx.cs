using System.Runtime.InteropServices;

namespace ParVts.Cuda.Tests;

/// <summary>A profiler that listens to NVTX and writes down what it hears: as a library of version 2, or injected as version 3's are.</summary>
internal static unsafe class FakeNvtx
{
    private static readonly Dictionary<string, nint> s_functions = new()
    {
        ["nvtxDomainCreateA"] = (nint)(delegate* unmanaged<byte*, nint>)&CreateDomain,
        ["nvtxDomainRegisterStringA"] = (nint)(delegate* unmanaged<nint, byte*, nint>)&RegisterString,
        ["nvtxDomainRangePushEx"] = (nint)(delegate* unmanaged<nint, byte*, int>)&Push,
        ["nvtxDomainRangePop"] = (nint)(delegate* unmanaged<nint, int>)&Pop,
        ["InitializeInjectionNvtx2"] = (nint)(delegate* unmanaged<delegate* unmanaged<uint, nint*>, int>)&Inject,
    };

    private static readonly List<string> s_names = [];
    private static int s_depth;

    /// <summary>What was heard.</summary>
    public static List<string> Heard { get; } = [];

    /// <summary>Ranges begun; unlike what was heard, counting allocates nothing.</summary>
    public static int Pushes { get; private set; }

    /// <summary>Write down what is heard.</summary>
    public static bool Listening { get; set; }

    public static void Reset()
    {
        s_names.Clear();
        Heard.Clear();
        s_depth = Pushes = 0;
        Listening = true;
    }

    public static nint Find(string name) => s_functions.GetValueOrDefault(name);

    [UnmanagedCallersOnly]
    private static nint CreateDomain(byte* name) => Name(name);

    [UnmanagedCallersOnly]
    private static nint RegisterString(nint domain, byte* name) => Name(name);

    // nvtxEventAttributes_t: version, size at 0 and 2; the payload's type at 16, itself at 24; the message's type at 32, itself at 40.
    [UnmanagedCallersOnly]
    private static int Push(nint domain, byte* attributes)
    {
        Pushes++;
        if (Listening)
        {
            Heard.Add(
                $"{s_names[(int)domain - 1]}: {s_names[(int)*(nint*)(attributes + 40) - 1]}, {*(long*)(attributes + 24)}; v{*(ushort*)attributes} "
                + $"{*(ushort*)(attributes + 2)} {*(int*)(attributes + 16)} {*(int*)(attributes + 32)}");
        }

        return s_depth++;
    }

    [UnmanagedCallersOnly]
    private static int Pop(nint domain)
    {
        if (Listening)
            Heard.Add("end");
        return --s_depth;
    }

    // As a tool of version 3 does it: asks for the table of tables, for each module's list of slots, and writes into them.
    [UnmanagedCallersOnly]
    private static int Inject(delegate* unmanaged<uint, nint*> getExportTable)
    {
        nint* callbacks = getExportTable(1);
        if (callbacks == null || callbacks[0] < 2 * sizeof(nint) || getExportTable(2) != null)
            return 0;
        var getFunctions = (delegate* unmanaged<uint, nint***, uint*, int>)callbacks[1];
        nint** list;
        uint count;
        if (getFunctions(1, &list, &count) == 0 || count != 16 || getFunctions(5, &list, &count) == 0 || count != 16)
            return 0;
        if (list[0] != null || list[16] != null)
            return 0;
        *list[12] = Find("nvtxDomainCreateA");
        *list[10] = Find("nvtxDomainRegisterStringA");
        *list[4] = Find("nvtxDomainRangePushEx");
        *list[5] = Find("nvtxDomainRangePop");
        return getFunctions(3, &list, &count) == 0 && list == null ? 1 : 0;
    }

    private static nint Name(byte* name)
    {
        s_names.Add(Marshal.PtrToStringUTF8((nint)name)!);
        return s_names.Count;
    }
}
