using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using ParVts.Engine.Generation;
using ParVts.Engine.Text;
using ParVts.Native.Items;

namespace ParVts.Native.Calls;

/// <summary>Conversations. Nothing here but the way from C into <see cref="PromptItem"/>.</summary>
internal static unsafe class PromptCalls
{
    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int Create(ulong engine, byte* template, ulong* prompt, ErrorInfo* error)
    {
        try
        {
            Call.Begin(error);
            Call.Require(prompt, "prompt");
            *prompt = 0;
            string name = Caller.ReadOrNull(template, "template_name") ?? "auto";
            if (name != "auto" && !ChatTemplate.BuiltInNames.Contains(name))
                throw new CallException(Status.InvalidArgument, $"there is no template '{name}'", $"templates are: auto, {string.Join(", ", ChatTemplate.BuiltInNames)}");
            *prompt = Handles.Add(new PromptItem(Handles.Get<EngineItem>(engine).Engine, name));
            return Call.Done(error);
        }
        catch (Exception failure)
        {
            return Call.Fail(error, failure);
        }
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int AddText(ulong prompt, byte* role, byte* text, ErrorInfo* error)
    {
        try
        {
            Call.Begin(error);
            Handles.Get<PromptItem>(prompt).AddText(Caller.Read(role, "role"), Caller.Read(text, "text"));
            return Call.Done(error);
        }
        catch (Exception failure)
        {
            return Call.Fail(error, failure);
        }
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int AddImage(ulong prompt, byte* role, ulong image, ErrorInfo* error)
    {
        try
        {
            Call.Begin(error);
            Handles.Get<PromptItem>(prompt).AddImage(Caller.Read(role, "role"), Handles.Get<ImageItem>(image).Image);
            return Call.Done(error);
        }
        catch (Exception failure)
        {
            return Call.Fail(error, failure);
        }
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int SetTokens(ulong prompt, int* tokens, nuint tokenCount, ulong* images, nuint imageCount, ErrorInfo* error)
    {
        try
        {
            Call.Begin(error);
            var pictures = new List<PromptImage>();
            foreach (ulong image in Caller.Read(images, imageCount, "images"))
                pictures.Add(Handles.Get<ImageItem>(image).Image);
            Handles.Get<PromptItem>(prompt).SetTokens(Caller.Read(tokens, tokenCount, "tokens"), pictures);
            return Call.Done(error);
        }
        catch (Exception failure)
        {
            return Call.Fail(error, failure);
        }
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int Tokens(ulong prompt, int* tokens, nuint capacity, nuint* count, ErrorInfo* error)
    {
        try
        {
            Call.Begin(error);
            Caller.Write(Handles.Get<PromptItem>(prompt).Make().Ids, tokens, capacity, count);
            return Call.Done(error);
        }
        catch (Exception failure)
        {
            return Call.Fail(error, failure);
        }
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int Close(ulong prompt, ErrorInfo* error)
    {
        try
        {
            Call.Begin(error);
            Handles.Close<PromptItem>(prompt);
            return Call.Done(error);
        }
        catch (Exception failure)
        {
            return Call.Fail(error, failure);
        }
    }
}
