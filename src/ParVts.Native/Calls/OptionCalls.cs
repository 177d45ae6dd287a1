using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;

namespace ParVts.Native.Calls;

/// <summary>Options by name. Nothing here but the way from C into <see cref="OptionSet"/>.</summary>
internal static unsafe class OptionCalls
{
    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int Create(byte* kind, ulong* options, ErrorInfo* error) => Call.Run(error, () =>
    {
        Call.Require(options, "options");
        *options = 0;
        *options = Handles.Add(OptionSet.Create(Caller.Read(kind, "kind")));
    });

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int SetText(ulong options, byte* name, byte* value, ErrorInfo* error) => Call.Run(error, () =>
        Handles.Get<OptionSet>(options).Set(Caller.Read(name, "name"), Caller.Read(value, "value")));

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int SetInt(ulong options, byte* name, long value, ErrorInfo* error) => Call.Run(error, () =>
        Handles.Get<OptionSet>(options).Set(Caller.Read(name, "name"), value));

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int SetReal(ulong options, byte* name, double value, ErrorInfo* error) => Call.Run(error, () =>
        Handles.Get<OptionSet>(options).Set(Caller.Read(name, "name"), value));

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int SetLog(ulong options, delegate* unmanaged[Cdecl]<void*, byte*, void> callback, void* user, ErrorInfo* error) => Call.Run(error, () =>
    {
        if (Handles.Get<OptionSet>(options) is not EngineOptionSet engine)
            throw new CallException(Status.InvalidArgument, "these options have no 'log'", "options of kind 'engine' have one");
        engine.SetLog(callback == null ? null : message =>
        {
            fixed (byte* text = Encoding.UTF8.GetBytes(message + '\0'))
                callback(user, text);
        });
    });

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int Close(ulong options, ErrorInfo* error) => Call.Run(error, () => Handles.Close<OptionSet>(options));
}
