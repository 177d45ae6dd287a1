using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace ParVts.Native.Calls;

/// <summary>Options by name. Nothing here but the way from C into <see cref="OptionSet"/>.</summary>
internal static unsafe class OptionCalls
{
    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int Create(byte* kind, ulong* options, ErrorInfo* error)
    {
        try
        {
            Call.Begin(error);
            Call.Require(options, "options");
            *options = 0;
            *options = Handles.Add(OptionSet.Create(Caller.Read(kind, "kind")));
            return Call.Done(error);
        }
        catch (Exception failure)
        {
            return Call.Fail(error, failure);
        }
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int SetText(ulong options, byte* name, byte* value, ErrorInfo* error)
    {
        try
        {
            Call.Begin(error);
            Handles.Get<OptionSet>(options).Set(Caller.Read(name, "name"), Caller.Read(value, "value"));
            return Call.Done(error);
        }
        catch (Exception failure)
        {
            return Call.Fail(error, failure);
        }
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int SetInt(ulong options, byte* name, long value, ErrorInfo* error)
    {
        try
        {
            Call.Begin(error);
            Handles.Get<OptionSet>(options).Set(Caller.Read(name, "name"), value);
            return Call.Done(error);
        }
        catch (Exception failure)
        {
            return Call.Fail(error, failure);
        }
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int SetReal(ulong options, byte* name, double value, ErrorInfo* error)
    {
        try
        {
            Call.Begin(error);
            Handles.Get<OptionSet>(options).Set(Caller.Read(name, "name"), value);
            return Call.Done(error);
        }
        catch (Exception failure)
        {
            return Call.Fail(error, failure);
        }
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int SetLog(ulong options, delegate* unmanaged[Cdecl]<void*, byte*, void> callback, void* user, ErrorInfo* error)
    {
        try
        {
            Call.Begin(error);
            if (Handles.Get<OptionSet>(options) is not EngineOptionSet engine)
                throw new CallException(Status.InvalidArgument, "these options have no 'log'", "options of kind 'engine' have one");
            engine.SetLog(HostCallbacks.OfLog(callback, user));
            return Call.Done(error);
        }
        catch (Exception failure)
        {
            return Call.Fail(error, failure);
        }
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int Close(ulong options, ErrorInfo* error)
    {
        try
        {
            Call.Begin(error);
            Handles.Close<OptionSet>(options);
            return Call.Done(error);
        }
        catch (Exception failure)
        {
            return Call.Fail(error, failure);
        }
    }
}
