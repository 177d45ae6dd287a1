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
    public static int Open(ulong engine, byte* policy, ulong* session, ErrorInfo* error) => Call.Run(error, () =>
    {
        Call.Require(session, "session");
        *session = 0;
        string name = Caller.ReadOrNull(policy, "policy") ?? "dense";
        *session = Handles.Add(new SessionItem(Handles.Get<EngineItem>(engine).Engine.CreateSession(name)));
    });

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int SetPolicy(ulong session, byte* policy, ErrorInfo* error) => Call.Run(error, () =>
    {
        SessionItem item = Handles.Get<SessionItem>(session);
        string name = Caller.Read(policy, "policy");
        item.Change(one => one.SetPolicy(name));
    });

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int SetPolicyCallback(
        ulong session, delegate* unmanaged[Cdecl]<void*, int, int, int*, float*, byte*, nuint, int> callback, void* user, int askScores,
        ErrorInfo* error) => Call.Run(error, () =>
    {
        SessionItem item = Handles.Get<SessionItem>(session);
        Call.Require(callback, "callback");
        if (askScores is not (0 or 1))
            throw new CallException(Status.InvalidArgument, $"ask_scores is {askScores}; it must be 0 or 1");
        var policy = new HostPolicy(Ask, askScores == 1);
        item.Change(one => one.SetPolicy(policy));

        bool[] Ask(int layer, int layers, ReadOnlySpan<int> tokens, ReadOnlySpan<float> scores)
        {
            byte[] keep = new byte[tokens.Length];
            Array.Fill(keep, (byte)1);
            int refused;
            fixed (int* firstToken = tokens)
            fixed (float* firstScore = scores)
            fixed (byte* firstKept = keep)
                refused = callback(user, layer, layers, firstToken, firstScore, firstKept, (nuint)tokens.Length);
            if (refused != 0)
                throw new PolicyException($"the host's policy stopped the run at layer {layer} (it returned {refused})");
            return [.. keep.Select(stays => stays != 0)];
        }
    });

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int SetKeepList(ulong session, int* tokens, nuint tokenCount, int layer, ErrorInfo* error) => Call.Run(error, () =>
    {
        SessionItem item = Handles.Get<SessionItem>(session);
        var policy = new KeepListPolicy(Caller.Read(tokens, tokenCount, "tokens").ToArray(), layer);
        item.Change(one => one.SetPolicy(policy));
    });

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int SetLogits(
        ulong session, delegate* unmanaged[Cdecl]<void*, int, float*, nuint, void> callback, void* user, ErrorInfo* error) => Call.Run(error, () =>
    {
        Handles.Get<SessionItem>(session).Change(one => one.Logits = callback == null ? null : Hand);

        void Hand(int step, ReadOnlySpan<float> logits)
        {
            fixed (float* first = logits)
                callback(user, step, first, (nuint)logits.Length);
        }
    });

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int Plan(ulong session, ulong prompt, ulong options, byte* json, nuint capacity, nuint* count, ErrorInfo* error) => Call.Run(error, () =>
    {
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
    });

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int Save(ulong session, byte* path, ErrorInfo* error) => Call.Run(error, () =>
    {
        SessionItem item = Handles.Get<SessionItem>(session);
        string name = FileName(path);
        item.Change(one => one.Save(name));
    });

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int Restore(ulong session, byte* path, ErrorInfo* error) => Call.Run(error, () =>
    {
        SessionItem item = Handles.Get<SessionItem>(session);
        using FileStream file = File.OpenRead(FileName(path));
        item.Change(one => one.Restore(file));
    });

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int Reset(ulong session, ErrorInfo* error) => Call.Run(error, () =>
        Handles.Get<SessionItem>(session).Change(one => one.Reset()));

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int Cancel(ulong session, ErrorInfo* error) => Call.Run(error, () => Handles.Get<SessionItem>(session).Cancel());

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int KvLengths(ulong session, int* lengths, nuint capacity, nuint* count, ErrorInfo* error) => Call.Run(error, () =>
        Caller.Write<int>(Handles.Get<SessionItem>(session).Read(one => one.KeyValueLengths()), lengths, capacity, count));

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int Info(ulong session, byte* json, nuint capacity, nuint* count, ErrorInfo* error) => Call.Run(error, () =>
    {
        string text = Handles.Get<SessionItem>(session).Read(one => Caller.Json(writer =>
        {
            writer.WriteString("policy", one.Policy);
            writer.WriteNumber("cached_tokens", one.CachedTokens);
            writer.WriteNumber("kv_bytes", one.KeyValueBytes);
            ResultJson.WriteTrace(writer, one.Trace);
        }));
        Caller.Write(text, json, capacity, count);
    });

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int Close(ulong session, ErrorInfo* error) => Call.Run(error, () => Handles.Close<SessionItem>(session));

    private static string FileName(byte* path)
    {
        string name = Caller.Read(path, "path");
        return name.Length > 0 ? name : throw new CallException(Status.InvalidArgument, "path is empty");
    }
}
