using System.Text;

namespace ParVts.Native.Tests;

/// <summary>A host that calls the table as C does, in this process.</summary>
internal static unsafe class Host
{
    /// <summary>The table.</summary>
    public static Api* Api { get; } = Load();

    /// <summary>The demo model's folder.</summary>
    public static string Model { get; } = TestData.Own("demo-model/model");

    /// <summary>One of its pictures.</summary>
    public static string Picture { get; } = TestData.Own("demo-model/eval/images/0000.png");

    /// <summary>A text as C has it.</summary>
    public static byte[] C(string text) => Encoding.UTF8.GetBytes(text + '\0');

    /// <summary>Throws what a call that must succeed said instead.</summary>
    public static void Ok(int status, in ErrorInfo error)
    {
        if (status != 0)
            throw new AssertionException($"status {(Status)status}: {Message(error)}");
    }

    /// <summary>A new error object, as a caller makes it.</summary>
    public static ErrorInfo Error() => new() { StructSize = (uint)sizeof(ErrorInfo) };

    /// <summary>What an error says.</summary>
    public static string Message(in ErrorInfo error)
    {
        fixed (byte* text = error.Message)
            return System.Runtime.InteropServices.Marshal.PtrToStringUTF8((nint)text)!;
    }

    /// <summary>What an error advises.</summary>
    public static string Hint(in ErrorInfo error)
    {
        fixed (byte* text = error.Hint)
            return System.Runtime.InteropServices.Marshal.PtrToStringUTF8((nint)text)!;
    }

    /// <summary>Opens the demo model.</summary>
    public static ulong OpenEngine(ulong options = 0)
    {
        ErrorInfo error = Error();
        ulong engine;
        fixed (byte* directory = C(Model))
            Ok(Api->EngineOpen(directory, options, &engine, &error), error);
        return engine;
    }

    /// <summary>Opens a session.</summary>
    public static ulong OpenSession(ulong engine, string policy = "dense")
    {
        ErrorInfo error = Error();
        ulong session;
        fixed (byte* name = C(policy))
            Ok(Api->SessionOpen(engine, name, &session, &error), error);
        return session;
    }

    /// <summary>A prompt about the picture.</summary>
    public static ulong Ask(ulong engine, string question = "what color is the circle?")
    {
        ErrorInfo error = Error();
        ulong image, prompt;
        fixed (byte* path = C(Picture))
            Ok(Api->ImageLoad(engine, path, null, &image, &error), error);
        Ok(Api->PromptCreate(engine, null, &prompt, &error), error);
        fixed (byte* role = C("user"))
        fixed (byte* text = C(question))
        {
            Ok(Api->PromptAddImage(prompt, role, image, &error), error);
            Ok(Api->PromptAddText(prompt, role, text, &error), error);
        }

        Ok(Api->ImageClose(image, &error), error);
        return prompt;
    }

    /// <summary>Options of a kind with whole numbers set.</summary>
    public static ulong Options(string kind, params (string Name, long Value)[] values)
    {
        ErrorInfo error = Error();
        ulong options;
        fixed (byte* name = C(kind))
            Ok(Api->OptionsCreate(name, &options, &error), error);
        foreach ((string option, long value) in values)
        {
            fixed (byte* name = C(option))
                Ok(Api->OptionsSetInt(options, name, value, &error), error);
        }

        return options;
    }

    /// <summary>Calls what hands text out: first for its length, then for the text.</summary>
    public static string Text(delegate* unmanaged[Cdecl]<ulong, byte*, nuint, nuint*, ErrorInfo*, int> call, ulong handle)
    {
        ErrorInfo error = Error();
        nuint count;
        int status = call(handle, null, 0, &count, &error);
        if (status != (int)Status.TooSmall)
            Ok(status, error);
        byte[] text = new byte[count + 1];
        fixed (byte* target = text)
            Ok(call(handle, target, count + 1, &count, &error), error);
        return Encoding.UTF8.GetString(text, 0, (int)count);
    }

    /// <summary>Calls what hands numbers out.</summary>
    public static int[] Numbers(delegate* unmanaged[Cdecl]<ulong, int*, nuint, nuint*, ErrorInfo*, int> call, ulong handle)
    {
        ErrorInfo error = Error();
        nuint count;
        int status = call(handle, null, 0, &count, &error);
        if (status != (int)Status.TooSmall)
            Ok(status, error);
        int[] numbers = new int[count];
        fixed (int* target = numbers)
            Ok(call(handle, target, count, &count, &error), error);
        return numbers;
    }

    private static Api* Load()
    {
        delegate* unmanaged[Cdecl]<uint, Api**, ErrorInfo*, int> get = &Native.Api.Get;
        ErrorInfo error = Error();
        Api* api;
        Ok(get(Native.Api.CurrentVersion, &api, &error), error);
        return api;
    }
}
