using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using ParVts.Native.Calls;

namespace ParVts.Native;

/// <summary>
/// pv_api: the table of include/parvts.h, member by member (a test holds the two against each other). Only ever grows at its end.
/// </summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct Api
{
    /// <summary>PV_API_VERSION.</summary>
    public const uint CurrentVersion = 1;

    public uint StructSize;
    public uint Version;
    public delegate* unmanaged[Cdecl]<byte*, nuint, nuint*, ErrorInfo*, int> Info;
    public delegate* unmanaged[Cdecl]<byte*, ulong*, ErrorInfo*, int> OptionsCreate;
    public delegate* unmanaged[Cdecl]<ulong, byte*, byte*, ErrorInfo*, int> OptionsSetText;
    public delegate* unmanaged[Cdecl]<ulong, byte*, long, ErrorInfo*, int> OptionsSetInt;
    public delegate* unmanaged[Cdecl]<ulong, byte*, double, ErrorInfo*, int> OptionsSetReal;
    public delegate* unmanaged[Cdecl]<ulong, delegate* unmanaged[Cdecl]<void*, byte*, void>, void*, ErrorInfo*, int> OptionsSetLog;
    public delegate* unmanaged[Cdecl]<ulong, ErrorInfo*, int> OptionsClose;
    public delegate* unmanaged[Cdecl]<byte*, ulong, ulong*, ErrorInfo*, int> EngineOpen;
    public delegate* unmanaged[Cdecl]<ulong, byte*, nuint, nuint*, ErrorInfo*, int> EngineInfo;
    public delegate* unmanaged[Cdecl]<ulong, ErrorInfo*, int> EngineClose;
    public delegate* unmanaged[Cdecl]<ulong, byte*, int*, nuint, nuint*, ErrorInfo*, int> Tokenize;
    public delegate* unmanaged[Cdecl]<ulong, int*, nuint, byte*, nuint, nuint*, ErrorInfo*, int> Detokenize;
    public delegate* unmanaged[Cdecl]<ulong, byte*, byte*, ulong*, ErrorInfo*, int> ImageLoad;
    public delegate* unmanaged[Cdecl]<ulong, byte*, nuint, byte*, ulong*, ErrorInfo*, int> ImageDecode;
    public delegate* unmanaged[Cdecl]<ulong, byte*, int, int, byte*, ulong*, ErrorInfo*, int> ImagePixels;
    public delegate* unmanaged[Cdecl]<ulong, ErrorInfo*, int> ImageClose;
    public delegate* unmanaged[Cdecl]<ulong, byte*, ulong*, ErrorInfo*, int> PromptCreate;
    public delegate* unmanaged[Cdecl]<ulong, byte*, byte*, ErrorInfo*, int> PromptAddText;
    public delegate* unmanaged[Cdecl]<ulong, byte*, ulong, ErrorInfo*, int> PromptAddImage;
    public delegate* unmanaged[Cdecl]<ulong, int*, nuint, ulong*, nuint, ErrorInfo*, int> PromptSetTokens;
    public delegate* unmanaged[Cdecl]<ulong, int*, nuint, nuint*, ErrorInfo*, int> PromptTokens;
    public delegate* unmanaged[Cdecl]<ulong, ErrorInfo*, int> PromptClose;
    public delegate* unmanaged[Cdecl]<ulong, byte*, ulong*, ErrorInfo*, int> SessionOpen;
    public delegate* unmanaged[Cdecl]<ulong, byte*, ErrorInfo*, int> SessionSetPolicy;
    public delegate* unmanaged[Cdecl]<ulong, delegate* unmanaged[Cdecl]<void*, int, int, int*, float*, byte*, nuint, int>, void*, int, ErrorInfo*, int> SessionSetPolicyCallback;
    public delegate* unmanaged[Cdecl]<ulong, ErrorInfo*, int> SessionReset;
    public delegate* unmanaged[Cdecl]<ulong, ErrorInfo*, int> SessionCancel;
    public delegate* unmanaged[Cdecl]<ulong, int*, nuint, nuint*, ErrorInfo*, int> SessionKvLengths;
    public delegate* unmanaged[Cdecl]<ulong, byte*, nuint, nuint*, ErrorInfo*, int> SessionInfo;
    public delegate* unmanaged[Cdecl]<ulong, ErrorInfo*, int> SessionClose;
    public delegate* unmanaged[Cdecl]<ulong, ulong, ulong, delegate* unmanaged[Cdecl]<void*, byte*, nuint, int>, void*, ulong*, ErrorInfo*, int> Generate;
    public delegate* unmanaged[Cdecl]<ulong, ulong, ulong, ulong*, ErrorInfo*, int> StreamOpen;
    public delegate* unmanaged[Cdecl]<ulong, byte*, nuint, nuint*, ErrorInfo*, int> StreamNext;
    public delegate* unmanaged[Cdecl]<ulong, ulong*, ErrorInfo*, int> StreamResult;
    public delegate* unmanaged[Cdecl]<ulong, ErrorInfo*, int> StreamClose;
    public delegate* unmanaged[Cdecl]<ulong, byte*, nuint, nuint*, ErrorInfo*, int> ResultText;
    public delegate* unmanaged[Cdecl]<ulong, int*, nuint, nuint*, ErrorInfo*, int> ResultTokens;
    public delegate* unmanaged[Cdecl]<ulong, float*, nuint, nuint*, ErrorInfo*, int> ResultLogits;
    public delegate* unmanaged[Cdecl]<ulong, byte*, nuint, nuint*, ErrorInfo*, int> ResultInfo;
    public delegate* unmanaged[Cdecl]<ulong, ErrorInfo*, int> ResultClose;
    public delegate* unmanaged[Cdecl]<ulong, float*, nuint, ulong*, ErrorInfo*, int> ImageEmbeddings;
    public delegate* unmanaged[Cdecl]<ulong, int*, nuint, int, ErrorInfo*, int> SessionSetKeepList;
    public delegate* unmanaged[Cdecl]<ulong, delegate* unmanaged[Cdecl]<void*, int, float*, nuint, void>, void*, ErrorInfo*, int> SessionSetLogits;
    public delegate* unmanaged[Cdecl]<ulong, ulong, ulong, byte*, nuint, nuint*, ErrorInfo*, int> SessionPlan;
    public delegate* unmanaged[Cdecl]<ulong, byte*, ErrorInfo*, int> SessionSave;
    public delegate* unmanaged[Cdecl]<ulong, byte*, ErrorInfo*, int> SessionRestore;
    public delegate* unmanaged[Cdecl]<ulong, float*, nuint, nuint*, ErrorInfo*, int> ResultLogProbabilities;
    public delegate* unmanaged[Cdecl]<ulong, int, int*, float*, nuint, nuint*, ErrorInfo*, int> ResultAlternatives;
    public delegate* unmanaged[Cdecl]<ulong, int, float*, nuint, nuint*, ErrorInfo*, int> ResultHidden;
    public delegate* unmanaged[Cdecl]<ulong, int, int*, int*, nuint, nuint*, ErrorInfo*, int> ResultHiddenRows;
    public delegate* unmanaged[Cdecl]<byte*, void*, void*, ulong, ulong*, ErrorInfo*, int> KernelsOpen;
    public delegate* unmanaged[Cdecl]<ulong, ErrorInfo*, int> KernelsClose;
    public delegate* unmanaged[Cdecl]<PlanInfo*, ulong*, ErrorInfo*, int> PlanCreate;
    public delegate* unmanaged[Cdecl]<ulong, ErrorInfo*, int> PlanClose;
    public delegate* unmanaged[Cdecl]<ulong, TensorInfo*, LayerInfo*, ulong, float, TensorInfo*, TensorInfo*, ErrorInfo*, int> SegmentAttention;
    public delegate* unmanaged[Cdecl]<ulong, TensorInfo*, LayerInfo*, float, TensorInfo*, ErrorInfo*, int> DecodeAttention;
    public delegate* unmanaged[Cdecl]<ulong, TensorInfo*, LayerInfo*, ulong, float, TensorInfo*, TensorInfo*, int, TensorInfo*, ErrorInfo*, int> Probe;
    public delegate* unmanaged[Cdecl]<ulong, TensorInfo*, LayerInfo*, ulong, float, TensorInfo*, int, TensorInfo*, ErrorInfo*, int> PreProbe;
    public delegate* unmanaged[Cdecl]<ulong, TensorInfo*, TensorInfo*, LayerInfo*, ulong, float, TensorInfo*, TensorInfo*, TensorInfo*, TensorInfo*, ErrorInfo*, int> ValueProbe;
    public delegate* unmanaged[Cdecl]<ulong, TensorInfo*, TensorInfo*, TensorInfo*, TensorInfo*, ErrorInfo*, int> PathWeights;
    public delegate* unmanaged[Cdecl]<ulong, TensorInfo*, TensorInfo*, TensorInfo*, TensorInfo*, ErrorInfo*, int> FusePaths;

    private static readonly Api* s_table = Create();

    /// <summary>parvts_get_api, which loader.c calls once it has found the build for this processor.</summary>
    [UnmanagedCallersOnly(EntryPoint = "parvts_get_api", CallConvs = [typeof(CallConvCdecl)])]
    public static int Get(uint version, Api** api, ErrorInfo* error)
    {
        try
        {
            Call.Begin(error);
            Call.Require(api, "api");
            *api = null;
            if (version is 0 or > CurrentVersion)
                throw new CallException(Status.Unsupported, $"version {version} of the API is asked for; this library has 1 to {CurrentVersion}", "update the library");
            *api = s_table;
            return Call.Done(error);
        }
        catch (Exception failure)
        {
            return Call.Fail(error, failure);
        }
    }

    private static Api* Create()
    {
        var table = (Api*)NativeMemory.AllocZeroed((nuint)sizeof(Api));
        *table = new Api
        {
            StructSize = (uint)sizeof(Api),
            Version = CurrentVersion,
            Info = &EngineCalls.Info,
            OptionsCreate = &OptionCalls.Create,
            OptionsSetText = &OptionCalls.SetText,
            OptionsSetInt = &OptionCalls.SetInt,
            OptionsSetReal = &OptionCalls.SetReal,
            OptionsSetLog = &OptionCalls.SetLog,
            OptionsClose = &OptionCalls.Close,
            EngineOpen = &EngineCalls.Open,
            EngineInfo = &EngineCalls.Describe,
            EngineClose = &EngineCalls.Close,
            Tokenize = &EngineCalls.Tokenize,
            Detokenize = &EngineCalls.Detokenize,
            ImageLoad = &EngineCalls.LoadImage,
            ImageDecode = &EngineCalls.DecodeImage,
            ImagePixels = &EngineCalls.TakePixels,
            ImageClose = &EngineCalls.CloseImage,
            PromptCreate = &PromptCalls.Create,
            PromptAddText = &PromptCalls.AddText,
            PromptAddImage = &PromptCalls.AddImage,
            PromptSetTokens = &PromptCalls.SetTokens,
            PromptTokens = &PromptCalls.Tokens,
            PromptClose = &PromptCalls.Close,
            SessionOpen = &SessionCalls.Open,
            SessionSetPolicy = &SessionCalls.SetPolicy,
            SessionSetPolicyCallback = &SessionCalls.SetPolicyCallback,
            SessionReset = &SessionCalls.Reset,
            SessionCancel = &SessionCalls.Cancel,
            SessionKvLengths = &SessionCalls.KvLengths,
            SessionInfo = &SessionCalls.Info,
            SessionClose = &SessionCalls.Close,
            Generate = &AnswerCalls.Generate,
            StreamOpen = &AnswerCalls.OpenStream,
            StreamNext = &AnswerCalls.Next,
            StreamResult = &AnswerCalls.StreamResult,
            StreamClose = &AnswerCalls.CloseStream,
            ResultText = &AnswerCalls.ResultText,
            ResultTokens = &AnswerCalls.ResultTokens,
            ResultLogits = &AnswerCalls.ResultLogits,
            ResultInfo = &AnswerCalls.ResultInfo,
            ResultClose = &AnswerCalls.CloseResult,
            ImageEmbeddings = &EngineCalls.TakeEmbeddings,
            SessionSetKeepList = &SessionCalls.SetKeepList,
            SessionSetLogits = &SessionCalls.SetLogits,
            SessionPlan = &SessionCalls.Plan,
            SessionSave = &SessionCalls.Save,
            SessionRestore = &SessionCalls.Restore,
            ResultLogProbabilities = &AnswerCalls.ResultLogProbabilities,
            ResultAlternatives = &AnswerCalls.ResultAlternatives,
            ResultHidden = &AnswerCalls.ResultHidden,
            ResultHiddenRows = &AnswerCalls.ResultHiddenRows,
            KernelsOpen = &KernelCalls.Open,
            KernelsClose = &KernelCalls.Close,
            PlanCreate = &KernelCalls.CreatePlan,
            PlanClose = &KernelCalls.ClosePlan,
            SegmentAttention = &KernelCalls.SegmentAttention,
            DecodeAttention = &KernelCalls.DecodeAttention,
            Probe = &KernelCalls.Probe,
            PreProbe = &KernelCalls.PreProbe,
            ValueProbe = &KernelCalls.ValueProbe,
            PathWeights = &KernelCalls.PathWeights,
            FusePaths = &KernelCalls.FusePaths,
        };
        return table;
    }
}
