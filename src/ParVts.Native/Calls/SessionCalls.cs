using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using ParVts.Engine;
using ParVts.Engine.Compute;
using ParVts.Engine.Generation;
using ParVts.Engine.Scheduling.Policies;
using ParVts.Native.Items;

namespace ParVts.Native.Calls;

/// <summary>KV caches and their policies. Nothing here but the way from C into <see cref="SessionItem"/>.</summary>
internal static unsafe class SessionCalls
{
    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int Open(ulong engine, byte* policy, ulong* session, ErrorInfo* error)
    {
        try
        {
            Call.Begin(error);
            Call.Require(session, "session");
            *session = 0;
            string name = Caller.ReadOrNull(policy, "policy") ?? "dense";
            *session = Handles.Add(new SessionItem(Handles.Get<EngineItem>(engine).Engine.CreateSession(name)));
            return Call.Done(error);
        }
        catch (Exception failure)
        {
            return Call.Fail(error, failure);
        }
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int SetPolicy(ulong session, byte* policy, ErrorInfo* error)
    {
        try
        {
            Call.Begin(error);
            SessionItem item = Handles.Get<SessionItem>(session);
            string name = Caller.Read(policy, "policy");
            item.Change(one => one.SetPolicy(name));
            return Call.Done(error);
        }
        catch (Exception failure)
        {
            return Call.Fail(error, failure);
        }
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int SetPolicyCallback(
        ulong session, delegate* unmanaged[Cdecl]<void*, int, int, int*, float*, byte*, nuint, int> callback, void* user, int askScores,
        ErrorInfo* error)
    {
        try
        {
            Call.Begin(error);
            SessionItem item = Handles.Get<SessionItem>(session);
            Call.Require(callback, "callback");
            if (askScores is not (0 or 1))
                throw new CallException(Status.InvalidArgument, $"ask_scores is {askScores}; it must be 0 or 1");
            var policy = new HostPolicy(HostCallbacks.OfPolicy(callback, user), askScores == 1);
            item.Change(one => one.SetPolicy(policy));
            return Call.Done(error);
        }
        catch (Exception failure)
        {
            return Call.Fail(error, failure);
        }
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int SetKeepList(ulong session, int* tokens, nuint tokenCount, int layer, ErrorInfo* error)
    {
        try
        {
            Call.Begin(error);
            SessionItem item = Handles.Get<SessionItem>(session);
            var policy = new KeepListPolicy(Caller.Read(tokens, tokenCount, "tokens").ToArray(), layer);
            item.Change(one => one.SetPolicy(policy));
            return Call.Done(error);
        }
        catch (Exception failure)
        {
            return Call.Fail(error, failure);
        }
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int SetLogits(
        ulong session, delegate* unmanaged[Cdecl]<void*, int, float*, nuint, void> callback, void* user, ErrorInfo* error)
    {
        try
        {
            Call.Begin(error);
            SessionItem item = Handles.Get<SessionItem>(session);
            LogitsSink? logits = HostCallbacks.OfLogits(callback, user);
            item.Change(one => one.Logits = logits);
            return Call.Done(error);
        }
        catch (Exception failure)
        {
            return Call.Fail(error, failure);
        }
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int Plan(ulong session, ulong prompt, ulong options, byte* json, nuint capacity, nuint* count, ErrorInfo* error)
    {
        try
        {
            Call.Begin(error);
            SessionItem item = Handles.Get<SessionItem>(session);
            Prompt asked = Handles.Get<PromptItem>(prompt).Make();
            GenerationOptions how = OptionSet.Get<GenerationOptionSet>(options, "generation").Options;
            string text = item.Read(one => Caller.Json(writer =>
            {
                MemoryPlan memory = one.Plan(asked, how);
                writer.WriteStartObject("memory_bytes");
                writer.WriteNumber("weights", memory.Weights);
                writer.WriteNumber("kv", memory.KeyValues);
                writer.WriteNumber("workspace", memory.Workspace);
                writer.WriteNumber("process", memory.Process);
                writer.WriteNumber("planned", memory.Total);
                writer.WriteEndObject();
                ResultJson.WriteTrace(writer, one.PlanTrace(asked));
            }));
            Caller.Write(text, json, capacity, count);
            return Call.Done(error);
        }
        catch (Exception failure)
        {
            return Call.Fail(error, failure);
        }
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int Save(ulong session, byte* path, ErrorInfo* error)
    {
        try
        {
            Call.Begin(error);
            SessionItem item = Handles.Get<SessionItem>(session);
            string name = FileName(path);
            item.Change(one => one.Save(name));
            return Call.Done(error);
        }
        catch (Exception failure)
        {
            return Call.Fail(error, failure);
        }
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int Restore(ulong session, byte* path, ErrorInfo* error)
    {
        try
        {
            Call.Begin(error);
            SessionItem item = Handles.Get<SessionItem>(session);
            using FileStream file = File.OpenRead(FileName(path));
            item.Change(one => one.Restore(file));
            return Call.Done(error);
        }
        catch (Exception failure)
        {
            return Call.Fail(error, failure);
        }
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int Reset(ulong session, ErrorInfo* error)
    {
        try
        {
            Call.Begin(error);
            Handles.Get<SessionItem>(session).Change(one => one.Reset());
            return Call.Done(error);
        }
        catch (Exception failure)
        {
            return Call.Fail(error, failure);
        }
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int Cancel(ulong session, ErrorInfo* error)
    {
        try
        {
            Call.Begin(error);
            Handles.Get<SessionItem>(session).Cancel();
            return Call.Done(error);
        }
        catch (Exception failure)
        {
            return Call.Fail(error, failure);
        }
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int KvLengths(ulong session, int* lengths, nuint capacity, nuint* count, ErrorInfo* error)
    {
        try
        {
            Call.Begin(error);
            Caller.Write<int>(Handles.Get<SessionItem>(session).Read(one => one.KeyValueLengths()), lengths, capacity, count);
            return Call.Done(error);
        }
        catch (Exception failure)
        {
            return Call.Fail(error, failure);
        }
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int Info(ulong session, byte* json, nuint capacity, nuint* count, ErrorInfo* error)
    {
        try
        {
            Call.Begin(error);
            string text = Handles.Get<SessionItem>(session).Read(one => Caller.Json(writer =>
            {
                writer.WriteString("policy", one.Policy);
                writer.WriteNumber("cached_tokens", one.CachedTokens);
                writer.WriteNumber("kv_bytes", one.KeyValueBytes);
                ResultJson.WriteTrace(writer, one.Trace);
            }));
            Caller.Write(text, json, capacity, count);
            return Call.Done(error);
        }
        catch (Exception failure)
        {
            return Call.Fail(error, failure);
        }
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int Close(ulong session, ErrorInfo* error)
    {
        try
        {
            Call.Begin(error);
            Handles.Close<SessionItem>(session);
            return Call.Done(error);
        }
        catch (Exception failure)
        {
            return Call.Fail(error, failure);
        }
    }

    private static string FileName(byte* path)
    {
        string name = Caller.Read(path, "path");
        return name.Length > 0 ? name : throw new CallException(Status.InvalidArgument, "path is empty");
    }
}
