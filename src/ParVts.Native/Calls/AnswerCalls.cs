using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;
using ParVts.Engine.Generation;
using ParVts.Engine.Scheduling;
using ParVts.Native.Items;

namespace ParVts.Native.Calls;

/// <summary>Answers: pushed, pulled, and what there is to know of them. Nothing here but the way from C into the items.</summary>
internal static unsafe class AnswerCalls
{
    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int Generate(
        ulong session, ulong prompt, ulong options, delegate* unmanaged[Cdecl]<void*, byte*, nuint, int> onText, void* user, ulong* result,
        ErrorInfo* error)
    {
        try
        {
            Call.Begin(error);
            Call.Require(result, "result");
            *result = 0;
            SessionItem item = Handles.Get<SessionItem>(session);
            Prompt asked = Handles.Get<PromptItem>(prompt).Make();
            GenerationOptions how = OptionSet.Get<GenerationOptionSet>(options, "generation").Options;
            *result = Handles.Add(item.Generate(asked, how, HostCallbacks.OfText(onText, user)));
            return Call.Done(error);
        }
        catch (Exception failure)
        {
            return Call.Fail(error, failure);
        }
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int OpenStream(ulong session, ulong prompt, ulong options, ulong* stream, ErrorInfo* error)
    {
        try
        {
            Call.Begin(error);
            Call.Require(stream, "stream");
            *stream = 0;
            SessionItem item = Handles.Get<SessionItem>(session);
            Prompt asked = Handles.Get<PromptItem>(prompt).Make();
            GenerationOptions how = OptionSet.Get<GenerationOptionSet>(options, "generation").Options;
            *stream = Handles.Add(new StreamItem(item, asked, how));
            return Call.Done(error);
        }
        catch (Exception failure)
        {
            return Call.Fail(error, failure);
        }
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int Next(ulong stream, byte* text, nuint capacity, nuint* count, ErrorInfo* error)
    {
        try
        {
            Call.Begin(error);
            StreamItem item = Handles.Get<StreamItem>(stream);
            Caller.Write(item.Peek(), text, capacity, count);
            item.Take();
            return Call.Done(error);
        }
        catch (Exception failure)
        {
            return Call.Fail(error, failure);
        }
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int StreamResult(ulong stream, ulong* result, ErrorInfo* error)
    {
        try
        {
            Call.Begin(error);
            Call.Require(result, "result");
            *result = 0;
            *result = Handles.Add(Handles.Get<StreamItem>(stream).Result());
            return Call.Done(error);
        }
        catch (Exception failure)
        {
            return Call.Fail(error, failure);
        }
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int CloseStream(ulong stream, ErrorInfo* error)
    {
        try
        {
            Call.Begin(error);
            Handles.Close<StreamItem>(stream);
            return Call.Done(error);
        }
        catch (Exception failure)
        {
            return Call.Fail(error, failure);
        }
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int ResultText(ulong result, byte* text, nuint capacity, nuint* count, ErrorInfo* error)
    {
        try
        {
            Call.Begin(error);
            Caller.Write(Handles.Get<ResultItem>(result).Result.Text, text, capacity, count);
            return Call.Done(error);
        }
        catch (Exception failure)
        {
            return Call.Fail(error, failure);
        }
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int ResultTokens(ulong result, int* tokens, nuint capacity, nuint* count, ErrorInfo* error)
    {
        try
        {
            Call.Begin(error);
            Caller.Write<int>([.. Handles.Get<ResultItem>(result).Result.Tokens], tokens, capacity, count);
            return Call.Done(error);
        }
        catch (Exception failure)
        {
            return Call.Fail(error, failure);
        }
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int ResultLogits(ulong result, float* logits, nuint capacity, nuint* count, ErrorInfo* error)
    {
        try
        {
            Call.Begin(error);
            IReadOnlyList<float> kept = Handles.Get<ResultItem>(result).Result.PromptLogits
                ?? throw new CallException(Status.BadRequest, "the answer was made without keeping logits", "set keep_logits to 1 before");
            Caller.Write<float>([.. kept], logits, capacity, count);
            return Call.Done(error);
        }
        catch (Exception failure)
        {
            return Call.Fail(error, failure);
        }
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int ResultInfo(ulong result, byte* json, nuint capacity, nuint* count, ErrorInfo* error)
    {
        try
        {
            Call.Begin(error);
            Caller.Write(Handles.Get<ResultItem>(result).Json, json, capacity, count);
            return Call.Done(error);
        }
        catch (Exception failure)
        {
            return Call.Fail(error, failure);
        }
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int ResultLogProbabilities(ulong result, float* values, nuint capacity, nuint* count, ErrorInfo* error)
    {
        try
        {
            Call.Begin(error);
            Caller.Write(ProbabilitiesOf(result).Chosen, values, capacity, count);
            return Call.Done(error);
        }
        catch (Exception failure)
        {
            return Call.Fail(error, failure);
        }
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int ResultAlternatives(
        ulong result, int step, int* tokens, float* values, nuint capacity, nuint* count, ErrorInfo* error)
    {
        try
        {
            Call.Begin(error);
            LogProbabilities all = ProbabilitiesOf(result);
            if ((uint)step >= (uint)all.Tokens)
                throw new CallException(Status.InvalidArgument, $"there is no step {step}; the answer has {all.Tokens} tokens");
            Caller.Write(all.TopIds(step), tokens, capacity, count);
            Caller.Write(all.Top(step), values, capacity, count);
            return Call.Done(error);
        }
        catch (Exception failure)
        {
            return Call.Fail(error, failure);
        }
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int ResultHidden(ulong result, int layer, float* rows, nuint capacity, nuint* count, ErrorInfo* error)
    {
        try
        {
            Call.Begin(error);
            Caller.Write(HiddenOf(result, layer).Values.Span, rows, capacity, count);
            return Call.Done(error);
        }
        catch (Exception failure)
        {
            return Call.Fail(error, failure);
        }
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int ResultHiddenRows(
        ulong result, int layer, int* tokens, int* paths, nuint capacity, nuint* count, ErrorInfo* error)
    {
        try
        {
            Call.Begin(error);
            HiddenRows rows = HiddenOf(result, layer);
            Caller.Write<int>([.. rows.Tokens], tokens, capacity, count);
            Caller.Write<int>([.. rows.Paths.Select(NumberOf)], paths, capacity, count);
            return Call.Done(error);
        }
        catch (Exception failure)
        {
            return Call.Fail(error, failure);
        }
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int CloseResult(ulong result, ErrorInfo* error)
    {
        try
        {
            Call.Begin(error);
            Handles.Close<ResultItem>(result);
            return Call.Done(error);
        }
        catch (Exception failure)
        {
            return Call.Fail(error, failure);
        }
    }

    private static LogProbabilities ProbabilitiesOf(ulong result) => Handles.Get<ResultItem>(result).Result.LogProbabilities
        ?? throw new CallException(Status.BadRequest, "the answer was made without log-probabilities", "set log_probabilities before");

    private static HiddenRows HiddenOf(ulong result, int layer) => Handles.Get<ResultItem>(result).Result.HiddenRows.FirstOrDefault(rows => rows.Layer == layer)
        ?? throw new CallException(Status.BadRequest, $"the answer was made without the rows of layer {layer}", "set hidden_layer before");

    // The numbers of the header.
    private static int NumberOf(RowPath path) => path switch
    {
        RowPath.Shared => 0,
        RowPath.Subject => 1,
        _ => 2,
    };
}
