using System.Reflection;
using System.Runtime.InteropServices;

namespace ParVts.Native.Tests;

/// <summary>The header and the table are the same; neither may change but by growing.</summary>
public sealed class HeaderTests
{
    private static FieldInfo[] Fields { get; } = typeof(Api).GetFields(BindingFlags.Instance | BindingFlags.Public);

    [Test]
    public void TableIsWhatTheHeaderDeclares()
    {
        FieldInfo[] functions = Fields[2..];
        Assert.That(Fields[..2].Select(field => (field.Name, field.FieldType)), Is.EqualTo([("StructSize", typeof(uint)), ("Version", typeof(uint))]));
        Assert.That(functions.Select(field => field.Name), Is.EqualTo(Header.Functions.Select(function => function.FieldName)));
        using (Assert.EnterMultipleScope())
        {
            foreach ((FieldInfo field, HeaderFunction function) in functions.Zip(Header.Functions))
            {
                Assert.That(field.FieldType.GetFunctionPointerReturnType(), Is.EqualTo(typeof(int)), function.Name);
                Assert.That(
                    field.FieldType.GetFunctionPointerParameterTypes().Select(NameOf),
                    Is.EqualTo(function.Parameters.Select(parameter => CSharpOf(parameter.Type))), function.Name);
            }
        }
    }

    [Test]
    public void NumbersAreTheHeaders()
    {
        using (Assert.EnterMultipleScope())
        {
            Assert.That(Header.Version, Is.EqualTo(Api.CurrentVersion));
            Assert.That(
                Enum.GetValues<Status>().Select(status => (Snake(status.ToString()), (int)status)),
                Is.EqualTo(Header.Statuses.Select(pair => (pair.Key["PV_".Length..], pair.Value))));
        }
    }

    // Code that is compiled against a version finds every function where that version had it, for ever.
    [Test]
    public unsafe void OffsetsArePinned()
    {
        string[] pinned = File.ReadAllLines(Path.Combine(TestData.Root, "tests", "ParVts.Native.Tests", "abi-1.txt"));
        string[] now =
        [
            $"pv_error {sizeof(ErrorInfo)}",
            .. Header.Functions.Select(function => $"{Marshal.OffsetOf<Api>(function.FieldName)} {function}"),
        ];
        Assert.That(now.Take(pinned.Length), Is.EqualTo(pinned));
        Assert.That(now, Has.Length.EqualTo(pinned.Length), "what is new is pinned, too, once it is released");
    }

    // What the C compiler makes of the header's structures, and what the runtime makes of ours.
    [Test]
    public void StructuresLieAlike()
    {
        (string C, Type Ours)[] structures =
        [
            ("pv_error", typeof(ErrorInfo)), ("pv_tensor", typeof(TensorInfo)), ("pv_kv_layer", typeof(LayerInfo)), ("pv_attention_plan", typeof(PlanInfo)),
            ("pv_segment", typeof(Engine.Compute.QuerySegment)), ("pv_key_range", typeof(Engine.Compute.KeyRange)),
        ];
        var program = new System.Text.StringBuilder("#include \"parvts.h\"\n#include <stdio.h>\nint main(void) {\n");
        List<string> expected = [];
        foreach ((string name, Type type) in structures)
        {
            program.AppendLine(System.Globalization.CultureInfo.InvariantCulture, $"printf(\"{name} %zu\\n\", sizeof({name}));");
            expected.Add($"{name} {Marshal.SizeOf(type)}");
            FieldInfo[] fields = type.GetFields(BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic);
            Assert.That(Header.FieldsOf(name), Has.Count.EqualTo(fields.Length), name);
            foreach ((string field, FieldInfo ours) in Header.FieldsOf(name).Zip(fields))
            {
                program.AppendLine(System.Globalization.CultureInfo.InvariantCulture, $"printf(\"{name}.{field} %zu\\n\", offsetof({name}, {field}));");
                Assert.That(ours.Name.TrimStart('<').Split('>')[0], Is.EqualTo(field.Replace("_", "", StringComparison.Ordinal)).IgnoreCase, name);
                expected.Add($"{name}.{field} {Marshal.OffsetOf(type, ours.Name)}");
            }
        }

        string source = Path.Combine(Path.GetTempPath(), $"parvts-structures-{Environment.ProcessId}.c");
        File.WriteAllText(source, program.Append("return 0; }\n").ToString());
        try
        {
            Finished run = NativeLibraryFiles.Run(NativeLibraryFiles.Compile(source, "structures"));
            Assert.That(run.Output.TrimEnd().Split('\n'), Is.EqualTo(expected));
        }
        finally
        {
            File.Delete(source);
        }
    }

    private static string NameOf(Type type) => type.IsFunctionPointer ? "function" : type.IsPointer ? NameOf(type.GetElementType()!) + "*" : type.Name;

    private static string CSharpOf(string type) => type switch
    {
        "char*" or "uint8_t*" or "void*" when type != "void*" => "Byte*",
        "pv_error*" => nameof(ErrorInfo) + "*",
        "size_t" => nameof(UIntPtr),
        "size_t*" => nameof(UIntPtr) + "*",
        "int32_t" => nameof(Int32),
        "int32_t*" => nameof(Int32) + "*",
        "int64_t" => nameof(Int64),
        "double" => nameof(Double),
        "float*" => nameof(Single) + "*",
        "float" => nameof(Single),
        "void*" => "Void*",
        "pv_tensor*" => nameof(TensorInfo) + "*",
        "pv_kv_layer*" => nameof(LayerInfo) + "*",
        "pv_attention_plan*" => nameof(PlanInfo) + "*",
        _ when type.EndsWith("_callback", StringComparison.Ordinal) => "function",
        _ when type.StartsWith("pv_", StringComparison.Ordinal) => type.EndsWith('*') ? nameof(UInt64) + "*" : nameof(UInt64),
        _ => type,
    };

    private static string Snake(string name) =>
        string.Concat(name.Select((letter, i) => i > 0 && char.IsUpper(letter) ? $"_{letter}" : $"{char.ToUpperInvariant(letter)}"));
}
