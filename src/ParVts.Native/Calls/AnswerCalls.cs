using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;
using ParVts.Engine.Generation;
using ParVts.Native.Items;

namespace ParVts.Native.Calls;

/// <summary>Answers: pushed, pulled, and what there is to know of them. Nothing here but the way from C into the items.</summary>
internal static unsafe class AnswerCalls
{
    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int Generate(
        ulong session, ulong prompt, ulong options, delegate* unmanaged[Cdecl]<void*, byte*, nuint, int> onText, void* user, ulong* result,
        ErrorInfo* error) => Call.Run(error, () =>
    {
        Call.Require(result, "result");
        *result = 0;
        SessionItem item = Handles.Get<SessionItem>(session);
        Prompt asked = Handles.Get<PromptItem>(prompt).Make();
        GenerationOptions how = OptionSet.Get<GenerationOptionSet>(options, "generation").Options;
        *result = Handles.Add(item.Generate(asked, how, onText == null ? null : Hand));

        bool Hand(string piece)
        {
            byte[] bytes = Encoding.UTF8.GetBytes(piece + '\0');
            fixed (byte* text = bytes)
                return onText(user, text, (nuint)(bytes.Length - 1)) != 0;
        }
    });

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int OpenStream(ulong session, ulong prompt, ulong options, ulong* stream, ErrorInfo* error) => Call.Run(error, () =>
    {
        Call.Require(stream, "stream");
        *stream = 0;
        SessionItem item = Handles.Get<SessionItem>(session);
        Prompt asked = Handles.Get<PromptItem>(prompt).Make();
        GenerationOptions how = OptionSet.Get<GenerationOptionSet>(options, "generation").Options;
        *stream = Handles.Add(new StreamItem(item, asked, how));
    });

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int Next(ulong stream, byte* text, nuint capacity, nuint* count, ErrorInfo* error) => Call.Run(error, () =>
    {
        StreamItem item = Handles.Get<StreamItem>(stream);
        Caller.Write(item.Peek(), text, capacity, count);
        item.Take();
    });

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int StreamResult(ulong stream, ulong* result, ErrorInfo* error) => Call.Run(error, () =>
    {
        Call.Require(result, "result");
        *result = 0;
        *result = Handles.Add(Handles.Get<StreamItem>(stream).Result());
    });

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int CloseStream(ulong stream, ErrorInfo* error) => Call.Run(error, () => Handles.Close<StreamItem>(stream));

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int ResultText(ulong result, byte* text, nuint capacity, nuint* count, ErrorInfo* error) => Call.Run(error, () =>
        Caller.Write(Handles.Get<ResultItem>(result).Result.Text, text, capacity, count));

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int ResultTokens(ulong result, int* tokens, nuint capacity, nuint* count, ErrorInfo* error) => Call.Run(error, () =>
        Caller.Write<int>([.. Handles.Get<ResultItem>(result).Result.Tokens], tokens, capacity, count));

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int ResultLogits(ulong result, float* logits, nuint capacity, nuint* count, ErrorInfo* error) => Call.Run(error, () =>
    {
        IReadOnlyList<float> kept = Handles.Get<ResultItem>(result).Result.PromptLogits
            ?? throw new CallException(Status.BadRequest, "the answer was made without keeping logits", "set keep_logits to 1 before");
        Caller.Write<float>([.. kept], logits, capacity, count);
    });

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int ResultInfo(ulong result, byte* json, nuint capacity, nuint* count, ErrorInfo* error) => Call.Run(error, () =>
        Caller.Write(Handles.Get<ResultItem>(result).Json, json, capacity, count));

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int CloseResult(ulong result, ErrorInfo* error) => Call.Run(error, () => Handles.Close<ResultItem>(result));
}
