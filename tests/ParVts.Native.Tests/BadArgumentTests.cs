using System.Reflection;
using System.Reflection.Emit;
using System.Runtime.InteropServices;

namespace ParVts.Native.Tests;

/// <summary>Every call with each of its arguments bad: a status and a message, never a crash. Generated from the header.</summary>
public sealed unsafe partial class BadArgumentTests
{
    private const int Room = 1 << 16;

    private readonly Dictionary<string, ulong> _handles = [];
    private readonly List<nint> _memory = [];

    private static IEnumerable<TestCaseData> Cases() =>
        from function in Header.Functions
        from argument in Enumerable.Range(0, function.Parameters.Count)
        from bad in BadValues(function, argument)
        select new TestCaseData(function.Name, argument, bad).SetArgDisplayNames(function.Name, function.Parameters[argument].Name, bad);

    [OneTimeSetUp]
    public void Open()
    {
        ulong engine = Host.OpenEngine();
        ulong session = Host.OpenSession(engine);
        ulong prompt = Host.Ask(engine);
        ulong image, stream, result;
        ErrorInfo error = Host.Error();
        fixed (byte* path = Host.C(Host.Picture))
            Host.Ok(Host.Api->ImageLoad(engine, path, null, &image, &error), error);
        ulong options = Host.Options("generation", ("max_tokens", 2), ("keep_logits", 1), ("log_probabilities", 1), ("hidden_layer", 0));
        Host.Ok(Host.Api->Generate(session, prompt, options, null, null, &result, &error), error);
        Host.Ok(Host.Api->StreamOpen(session, prompt, options, &stream, &error), error);
        ulong last;
        Host.Ok(Host.Api->StreamResult(stream, &last, &error), error);
        fixed (byte* path = Host.C(SavedSession))
            Host.Ok(Host.Api->SessionSave(session, path, &error), error);
        foreach ((string type, ulong handle) in new[]
        {
            ("pv_engine", engine), ("pv_session", session), ("pv_prompt", prompt), ("pv_image", image), ("pv_options", Host.Options("engine")),
            ("pv_stream", stream), ("pv_result", result), ("pv_kernels", OpenKernels()), ("pv_plan", CreatePlan()),
        })
        {
            _handles.Add(type, handle);
        }
    }

    [OneTimeTearDown]
    public void Free()
    {
        File.Delete(SavedSession);
        foreach (nint memory in _memory)
            NativeMemory.Free((void*)memory);
    }

    [TestCaseSource(nameof(Cases))]
    public void ABadArgumentIsAStatus(string name, int argument, string bad)
    {
        HeaderFunction function = Header.Functions.Single(one => one.Name == name);
        ErrorInfo* error = Memory<ErrorInfo>(1);
        error->StructSize = (uint)sizeof(ErrorInfo);
        nint[] arguments = [.. function.Parameters.Select((parameter, i) => i == argument ? Bad(parameter.Type, bad, error) : Good(function, parameter, error))];
        var status = (Status)Invoke(function, arguments);
        bool told = arguments[^1] != 0 && bad is not ("no struct_size" or "struct_size too small");
        using (Assert.EnterMultipleScope())
        {
            Assert.That(Enum.IsDefined(status), $"{status}");
            Assert.That(status, Is.Not.EqualTo(Status.Internal), Host.Message(*error));
            if (MustFail(function, argument, bad))
                Assert.That(status, Is.Not.EqualTo(Status.Ok));
            if (status != Status.Ok && told)
            {
                Assert.That(error->Status, Is.EqualTo((int)status));
                Assert.That(Host.Message(*error), Is.Not.Empty);
            }
        }
    }

    // What is bad in a case is one argument and nothing else.
    [TestCaseSource(nameof(Names))]
    public void GoodArgumentsAreGood(string name)
    {
        HeaderFunction function = Header.Functions.Single(one => one.Name == name);
        ErrorInfo* error = Memory<ErrorInfo>(1);
        error->StructSize = (uint)sizeof(ErrorInfo);
        var status = (Status)Invoke(function, [.. function.Parameters.Select(parameter => Good(function, parameter, error))]);
        Assert.That(status, Is.EqualTo(Status.Ok), Host.Message(*error));
    }

    private static IEnumerable<string> Names() => Header.Functions.Select(function => function.Name);

    private static IEnumerable<string> BadValues(HeaderFunction function, int argument) => BadValues(
        function.Parameters[argument], isRoom: argument + 1 < function.Parameters.Count && function.Parameters[argument + 1].Name == "capacity");

    private static IEnumerable<string> BadValues((string Type, string Name) parameter, bool isRoom) => parameter.Type switch
    {
        "pv_error*" => ["NULL", "no struct_size", "struct_size too small"],
        "pv_tensor*" => ["NULL", "no struct_size", "no type", "no data", "no rows", "negative columns", "short stride", "huge stride", "not aligned", "another shape"],
        "pv_kv_layer*" => ["NULL", "no struct_size", "no type", "no pages", "no page", "no rows", "negative heads", "many heads", "huge heads", "small capacity"],
        "pv_attention_plan*" => ["NULL", "no struct_size", "no segments", "segment beyond ranges", "segments overlap", "ranges overlap", "negative range", "unknown rule", "unknown value", "no window", "unknown mask", "many masks"],
        "char*" when !isRoom => ["NULL", "not UTF-8", "empty", "unknown"],
        "char*" or "uint8_t*" or "int32_t*" or "float*" or "size_t*" => ["NULL"],
        _ when parameter.Type.EndsWith("_callback", StringComparison.Ordinal) => ["NULL"],
        _ when IsHandle(parameter.Type.TrimEnd('*')) => parameter.Type.EndsWith('*') ? ["NULL"] : ["0", "garbage", "never given", "closed", "another kind"],
        "size_t" => ["0", "more than there can be"],
        "double" or "float" => ["NaN", "infinity", "negative"],
        "void*" => ["NULL", "given"],
        "int32_t" or "int64_t" or "uint32_t" => ["negative", "the largest", "the smallest"],
        _ => throw new NotSupportedException($"nobody said what a bad {parameter.Type} is"),
    };

    private static bool IsHandle(string type) =>
        type.StartsWith("pv_", StringComparison.Ordinal) && Enum.TryParse<HandleKind>(type["pv_".Length..], ignoreCase: true, out _);

    // Where the last argument is missing, nobody is told; where a pointer, a text or a handle may be missing, the header says so.
    private static bool MustFail(HeaderFunction function, int argument, string bad)
    {
        (string type, string name) = function.Parameters[argument];
        if (type == "pv_error*")
            return bad != "NULL";
        bool close = function.Name.EndsWith("_close", StringComparison.Ordinal);
        if (type.StartsWith("pv_", StringComparison.Ordinal) && !type.EndsWith('*') && !type.EndsWith("_callback", StringComparison.Ordinal))
            return !(bad == "0" && (close || type == "pv_options" && !function.Name.StartsWith("options_", StringComparison.Ordinal)));
        return (bad, name) switch
        {
            ("NULL", "user" or "on_text" or "aspect" or "template_name") => false,
            ("NULL", "policy") => function.Name != "session_open",
            ("NULL", "callback") => function.Name is not ("options_set_log" or "session_set_logits"),
            ("NULL", "images") => false,
            ("NULL", "cu_context" or "cu_stream") => false, // good on the CPU
            ("given", "user") => false,
            ("NULL", "log_sum_exp") => function.Name != "segment_attention",
            ("NULL", "rows") => function.Name == "image_embeddings",
            ("another shape", "x") => false, // rows of any length fuse,
            ("another shape", "log_sum_exp") => function.Name != "path_weights", // and of any number of heads
            ("empty", "text" or "value") => false,
            ("unknown", "text" or "value") => false,
            ("0", "capacity") => function.Name is not ("detokenize" or "stream_next"), // whose texts are empty here
            ("0", "count") => true, // embeddings of no row
            ("0", _) => name == "size",
            ("negative", "layer") => function.Name != "session_set_keep_list", // −1 is before the decoder
            ("negative" or "the largest" or "the smallest" or "NaN" or "infinity", "value") => false,
            _ => bad != "more than there can be" || name != "capacity",
        };
    }

    private nint Good(HeaderFunction function, (string Type, string Name) parameter, ErrorInfo* error)
    {
        string type = parameter.Type.TrimEnd('*');
        return (parameter.Type, parameter.Name) switch
        {
            ("pv_error*", _) => (nint)error,
            ("pv_options", _) when !function.Name.StartsWith("options_", StringComparison.Ordinal) => 0,
            ("pv_session", _) when function.Name == "stream_open" => (nint)Host.OpenSession(_handles["pv_engine"]), // which is busy afterwards
            ("pv_prompt", _) when function.Name == "prompt_set_tokens" => (nint)EmptyPrompt(),
            ("pv_options", _) when function.Name == "options_set_real" => (nint)Host.Options("generation"),
            ("double", _) => (nint)BitConverter.DoubleToInt64Bits(0.5),
            (_, "images") => 0,
            (_, "image_count") => 0,
            (_, "token_count") => 1,
            ("pv_tensor*", _) => Tensor(function, parameter.Name),
            ("pv_kv_layer*", _) => (nint)Layer(),
            ("pv_attention_plan*", _) => (nint)Plan(),
            ("float", _) => BitConverter.SingleToInt32Bits(0.5f),
            (_, "device") => (nint)Text(Host.C("cpu")),
            (_, "cu_context" or "cu_stream") => 0,
            (_, "reduction") => 2,
            (_, "layer" or "step") => 0,
            (_, "count") when function.Name == "image_embeddings" => 192,
            (_, "tokens") when function.Name is "detokenize" or "prompt_set_tokens" => (nint)Memory<int>(Room),
            (_, "capacity") => Room / 2,
            (_, "bytes") => (nint)Text(File.ReadAllBytes(Host.Picture)),
            (_, "size") => (nint)new FileInfo(Host.Picture).Length,
            (_, "width" or "height") => 8,
            (_, "directory") => (nint)Text(Host.C(Host.Model)),
            (_, "path") when function.Name is "session_save" or "session_restore" => (nint)Text(Host.C(SavedSession)),
            (_, "path") => (nint)Text(Host.C(Host.Picture)),
            (_, "policy") => (nint)Text(Host.C("dense")),
            (_, "kind") => (nint)Text(Host.C("engine")),
            (_, "role") => (nint)Text(Host.C("user")),
            (_, "name") => (nint)Text(Host.C(function.Name switch { "options_set_text" => "device", "options_set_real" => "temperature", _ => "threads" })),
            (_, "aspect" or "template_name" or "user" or "on_text") => 0,
            (_, "callback") => function.Name == "options_set_log" ? 0 : Marshal.GetFunctionPointerForDelegate(s_stay),
            (_, "text" or "value") when function.Name is "tokenize" or "prompt_add_text" or "options_set_text" => (nint)Text(Host.C("red")),
            _ when parameter.Type.EndsWith('*') => (nint)Memory<int>(Room),
            _ when type.StartsWith("pv_", StringComparison.Ordinal) => Handle(function, type),
            _ => 1,
        };
    }

    private ulong EmptyPrompt()
    {
        ErrorInfo error = Host.Error();
        ulong prompt;
        Host.Ok(Host.Api->PromptCreate(_handles["pv_engine"], null, &prompt, &error), error);
        return prompt;
    }

    // A call that closes gets one of its own.
    private nint Handle(HeaderFunction function, string type)
    {
        if (!function.Name.EndsWith("_close", StringComparison.Ordinal))
            return (nint)_handles[type];
        return type == "pv_options" ? (nint)Host.Options("engine") : 0;
    }

    private nint Bad(string type, string bad, ErrorInfo* error)
    {
        if (type is "pv_tensor*" or "pv_kv_layer*" or "pv_attention_plan*" && bad != "NULL")
            return BadStructure(type, bad);
        if (type == "pv_error*" && bad != "NULL")
        {
            error->StructSize = bad == "no struct_size" ? 0 : (uint)sizeof(ErrorInfo) - 1;
            return (nint)error;
        }

        return bad switch
        {
            "NULL" or "0" => 0,
            "given" => 64,
            "NaN" when type == "float" => BitConverter.SingleToInt32Bits(float.NaN),
            "infinity" when type == "float" => BitConverter.SingleToInt32Bits(float.PositiveInfinity),
            "negative" when type == "float" => BitConverter.SingleToInt32Bits(-1f),
            "garbage" => unchecked((nint)0xFEDCBA9876543210),
            "never given" => (nint)(_handles[type] | 0x00FFFFFF00000000),
            "closed" => Closed(type),
            "another kind" => (nint)_handles[type == "pv_engine" ? "pv_session" : "pv_engine"],
            "not UTF-8" => (nint)Text([0xC3, 0x28, 0]),
            "empty" => (nint)Text([0]),
            "unknown" => (nint)Text(Host.C("nowhere/nothing")),
            "more than there can be" => -1,
            "NaN" => (nint)BitConverter.DoubleToInt64Bits(double.NaN),
            "infinity" => (nint)BitConverter.DoubleToInt64Bits(double.PositiveInfinity),
            "negative" => -1,
            "the largest" => type == "int32_t" ? int.MaxValue : nint.MaxValue,
            _ => type == "int32_t" ? int.MinValue : nint.MinValue,
        };
    }

    // The kind of a good handle, a place that was used, and the number of a use that is over.
    private static nint Closed(string type)
    {
        ulong used = Host.Options("engine");
        ErrorInfo error = Host.Error();
        Host.Ok(Host.Api->OptionsClose(used, &error), error);
        ulong kind = (ulong)Enum.Parse<HandleKind>(type["pv_".Length..], ignoreCase: true);
        return (nint)((used & 0x00FFFFFFFFFFFFFF) | kind << 56);
    }

    // Every argument is a word; the table's own signature says what becomes of it.
    private static int Invoke(HeaderFunction function, nint[] arguments)
    {
        FieldInfo field = typeof(Api).GetField(function.FieldName)!;
        Type[] parameters = field.FieldType.GetFunctionPointerParameterTypes();
        nint address = Marshal.ReadIntPtr((nint)Host.Api, (int)Marshal.OffsetOf<Api>(function.FieldName));
        var method = new DynamicMethod(function.Name, typeof(int), [typeof(nint[])], typeof(BadArgumentTests).Module, skipVisibility: true);
        ILGenerator il = method.GetILGenerator();
        var words = new Type[parameters.Length];
        for (int i = 0; i < parameters.Length; i++)
        {
            il.Emit(OpCodes.Ldarg_0);
            il.Emit(OpCodes.Ldc_I4, i);
            il.Emit(OpCodes.Ldelem_I);
            words[i] = parameters[i] == typeof(double) || parameters[i] == typeof(float) || parameters[i] == typeof(int) ? parameters[i] : typeof(nint);
            if (words[i] == typeof(float))
                il.Emit(OpCodes.Call, typeof(BadArgumentTests).GetMethod(nameof(AsFloat), BindingFlags.NonPublic | BindingFlags.Static)!);
            else if (words[i] == typeof(double))
                il.Emit(OpCodes.Call, typeof(BadArgumentTests).GetMethod(nameof(AsDouble), BindingFlags.NonPublic | BindingFlags.Static)!);
            else if (words[i] == typeof(int))
                il.Emit(OpCodes.Conv_I4);
        }

        il.Emit(OpCodes.Ldc_I8, (long)address);
        il.Emit(OpCodes.Conv_I);
        il.EmitCalli(OpCodes.Calli, CallingConvention.Cdecl, typeof(int), words);
        il.Emit(OpCodes.Ret);
        return method.CreateDelegate<Func<nint[], int>>()(arguments);
    }

    private static double AsDouble(nint bits) => BitConverter.Int64BitsToDouble(bits);

    private static float AsFloat(nint bits) => BitConverter.Int32BitsToSingle((int)bits);

    private T* Memory<T>(int count)
        where T : unmanaged
    {
        var memory = (T*)NativeMemory.AllocZeroed((nuint)count, (nuint)sizeof(T));
        _memory.Add((nint)memory);
        return memory;
    }

    private byte* Text(byte[] bytes)
    {
        byte* text = Memory<byte>(bytes.Length);
        bytes.CopyTo(new Span<byte>(text, bytes.Length));
        return text;
    }

    [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
    private delegate int Stay(void* user, int layer, int layers, int* tokens, float* scores, byte* keep, nuint count);

    private static readonly Stay s_stay = (_, _, _, _, _, _, _) => 0;
}
