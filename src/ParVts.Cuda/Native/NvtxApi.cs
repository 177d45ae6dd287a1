using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace ParVts.Cuda.Native;

/// <summary>
/// NVTX's functions for ranges in a domain (contract G1). NVTX is optional: where no tool listens the table is empty, and ranges
/// cost a test of a field. Any thread.
/// </summary>
/// <remarks>
/// Since version 3 NVTX is no library but a protocol: a tool that starts a program names its library in NVTX_INJECTION64_PATH, and that
/// library writes its functions into tables that the program shows it. The older library, and the one that version 3 has for other
/// languages, export the same functions by name.
/// </remarks>
public sealed unsafe class NvtxApi
{
    private const string InjectionVariable = "NVTX_INJECTION64_PATH";

    // NvtxExportTableID, NvtxCallbackModule and NvtxCallbackIdCore2.
    private const uint Callbacks = 1;
    private const uint Core = 1;
    private const uint Core2 = 5;
    private const int CoreFunctions = 16;
    private const int DomainRangePushEx = 4;
    private const int DomainRangePop = 5;
    private const int DomainRegisterString = 10;
    private const int DomainCreate = 12;

    // What the tool sees: a slot for each function, the list of the slots, and the table that gives the list. It may write at any
    // time, so none of this is ever freed.
    private static nint* s_slots;
    private static nint** s_core;
    private static nint** s_core2;
    private static ExportTable* s_table;

    private NvtxApi()
    {
    }

    /// <summary>Takes the functions from a library that exports them by name; without one of them the table is empty.</summary>
    public NvtxApi(FunctionSource source) => Fill(
        source.Find("nvtxDomainCreateA"), source.Find("nvtxDomainRegisterStringA"), source.Find("nvtxDomainRangePushEx"), source.Find("nvtxDomainRangePop"));

    /// <summary>The table of a program that nobody listens to.</summary>
    public static NvtxApi None { get; } = new();

    /// <summary>True where somebody listens.</summary>
    public bool IsActive => RangePop != null;

    internal delegate* unmanaged<byte*, nint> CreateDomain { get; private set; }

    internal delegate* unmanaged<nint, byte*, nint> RegisterString { get; private set; }

    internal delegate* unmanaged<nint, NvtxEvent*, int> RangePush { get; private set; }

    internal delegate* unmanaged<nint, int> RangePop { get; private set; }

    /// <summary>Whoever listens: the tool that NVTX_INJECTION64_PATH names, else the library of version 2 or 3. It is no error that nobody does.</summary>
    public static NvtxApi Load()
    {
        if (Environment.GetEnvironmentVariable(InjectionVariable) is { Length: > 0 } tool && NativeLibrary.TryLoad(tool, out nint library))
            return Inject(name => NativeLibrary.TryGetExport(library, name, out nint address) ? address : 0);
        foreach (string name in OperatingSystem.IsWindows() ? (string[])["nvToolsExt64_1.dll", "nvtx3interop.dll"] : ["libnvToolsExt.so.1", "libnvtx3interop.so.1", "libnvtx3interop.so"])
        {
            if (NativeLibrary.TryLoad(name, out nint handle))
                return new NvtxApi(new FunctionSource("NVTX", "", function => NativeLibrary.TryGetExport(handle, function, out nint address) ? address : 0));
        }

        return None;
    }

    /// <summary>Shows a tool the tables, by version 3's protocol; once in a process.</summary>
    /// <param name="resolve">The address of a function of the tool's library, or 0.</param>
    internal static NvtxApi Inject(Func<string, nint> resolve)
    {
        var initialize = (delegate* unmanaged<delegate* unmanaged<uint, void*>, int>)resolve("InitializeInjectionNvtx2");
        if (initialize == null)
            return None;
        MakeTables();
        if (initialize(&GetExportTable) == 0)
            return None;
        var api = new NvtxApi();
        api.Fill(s_slots[DomainCreate], s_slots[DomainRegisterString], s_slots[DomainRangePushEx], s_slots[DomainRangePop]);
        return api;
    }

    private void Fill(nint create, nint register, nint push, nint pop)
    {
        if (create == 0 || register == 0 || push == 0 || pop == 0)
            return;
        CreateDomain = (delegate* unmanaged<byte*, nint>)create;
        RegisterString = (delegate* unmanaged<nint, byte*, nint>)register;
        RangePush = (delegate* unmanaged<nint, NvtxEvent*, int>)push;
        RangePop = (delegate* unmanaged<nint, int>)pop;
    }

    // The slots of the core module are there because tools count on them; we call none of its functions.
    private static void MakeTables()
    {
        s_slots = (nint*)NativeMemory.AllocZeroed(2 * CoreFunctions, (nuint)sizeof(nint));
        s_core2 = List(s_slots);
        s_core = List(s_slots + CoreFunctions);
        s_table = (ExportTable*)NativeMemory.AllocZeroed((nuint)sizeof(ExportTable));
        s_table->Bytes = (nuint)sizeof(ExportTable);
        s_table->GetFunctions = &GetFunctions;

        // Place 0 of a list is no function, and a null ends it.
        static nint** List(nint* slots)
        {
            var list = (nint**)NativeMemory.AllocZeroed(CoreFunctions + 1, (nuint)sizeof(nint));
            for (int i = 1; i < CoreFunctions; i++)
                list[i] = slots + i;
            return list;
        }
    }

    [UnmanagedCallersOnly]
    private static void* GetExportTable(uint id) => id == Callbacks ? s_table : null;

    [UnmanagedCallersOnly]
    private static int GetFunctions(uint module, nint*** list, uint* count)
    {
        nint** found = module switch
        {
            Core => s_core,
            Core2 => s_core2,
            _ => null,
        };
        if (count != null)
            *count = found == null ? 0 : (uint)CoreFunctions;
        if (list != null)
            *list = found;
        return found == null ? 0 : 1;
    }

    /// <summary>NvtxExportTableCallbacks.</summary>
    private struct ExportTable
    {
        public nuint Bytes;
        public delegate* unmanaged<uint, nint***, uint*, int> GetFunctions;
    }
}

/// <summary>nvtxEventAttributes_t: a registered name and a whole number.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct NvtxEvent
{
    // The layout is the same in versions 2 and 3; every tool reads version 2's.
    private const ushort CurrentVersion = 2;
    private const int PayloadInt64 = 2;
    private const int MessageRegistered = 3;

    public ushort Version;
    public ushort Size;
    public uint Category;
    public int ColorType;
    public uint Color;
    public int PayloadType;
    public int Reserved;
    public long Payload;
    public int MessageType;
    public nint Message;

    public NvtxEvent(nint message, long payload)
    {
        Version = CurrentVersion;
        Size = (ushort)Unsafe.SizeOf<NvtxEvent>();
        PayloadType = PayloadInt64;
        Payload = payload;
        MessageType = MessageRegistered;
        Message = message;
    }
}
