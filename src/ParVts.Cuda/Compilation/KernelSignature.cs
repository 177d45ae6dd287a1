using System.Globalization;
using System.Reflection;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text.RegularExpressions;

namespace ParVts.Cuda.Compilation;

/// <summary>A parameter of a kernel.</summary>
/// <param name="Type">Its PTX type: u64, u32, f32 …; b8 for a struct.</param>
/// <param name="Offset">Where it lies in the parameter buffer.</param>
/// <param name="Bytes">How long it is.</param>
public readonly record struct KernelParameter(string Type, int Offset, int Bytes);

/// <summary>The parameters that the compiler declared for a kernel, read from its PTX. Immutable; any thread.</summary>
/// <param name="Parameters">In order.</param>
public sealed partial record KernelSignature(IReadOnlyList<KernelParameter> Parameters)
{
    /// <summary>Bytes of the parameter buffer.</summary>
    public int Bytes => Parameters.Count == 0 ? 0 : Parameters[^1].Offset + Parameters[^1].Bytes;

    /// <summary>Reads the signature of an entry.</summary>
    /// <exception cref="ArgumentException">The PTX has no such entry.</exception>
    public static KernelSignature Read(string ptx, string entry)
    {
        Match head = Regex.Match(ptx, @"\.entry\s+" + Regex.Escape(entry) + @"\s*\(([^)]*)\)", RegexOptions.CultureInvariant, TimeSpan.FromSeconds(5));
        if (!head.Success)
        {
            // An entry without parameters may be declared without parentheses.
            return Regex.IsMatch(ptx, @"\.entry\s+" + Regex.Escape(entry) + @"\b", RegexOptions.CultureInvariant, TimeSpan.FromSeconds(5))
                ? new KernelSignature([])
                : throw new ArgumentException($"the PTX has no entry '{entry}'", nameof(entry));
        }

        var parameters = new List<KernelParameter>();
        int offset = 0;
        foreach (Match match in Parameter().Matches(head.Groups[1].Value))
        {
            string type = match.Groups["type"].Value;
            int size = int.Parse(type.AsSpan(1), CultureInfo.InvariantCulture) / 8;
            int alignment = match.Groups["align"].Success ? int.Parse(match.Groups["align"].ValueSpan, CultureInfo.InvariantCulture) : size;
            int count = match.Groups["count"].Success ? int.Parse(match.Groups["count"].ValueSpan, CultureInfo.InvariantCulture) : 1;
            offset = (offset + alignment - 1) / alignment * alignment;
            parameters.Add(new KernelParameter(type, offset, size * count));
            offset += size * count;
        }

        return new KernelSignature(parameters);
    }

    /// <summary>Compares a struct's fields with the parameters.</summary>
    /// <exception cref="ArgumentException">Number, offset or size of a field differs; the message names it.</exception>
    public void Check<T>(string kernel)
        where T : unmanaged
    {
        FieldInfo[] fields = typeof(T).GetFields(BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic);
        if (fields.Length != Parameters.Count)
            throw new ArgumentException($"kernel '{kernel}' takes {Parameters.Count} parameters, but {typeof(T).Name} has {fields.Length} fields");
        for (int i = 0; i < fields.Length; i++)
        {
            int offset = (int)Marshal.OffsetOf<T>(fields[i].Name);
            int bytes = SizeOf(fields[i].FieldType);
            KernelParameter parameter = Parameters[i];
            bool floating = fields[i].FieldType == typeof(float) || fields[i].FieldType == typeof(double);
            if (offset != parameter.Offset || bytes != parameter.Bytes || (parameter.Type[0] == 'f') != floating)
            {
                throw new ArgumentException(
                    $"kernel '{kernel}', parameter {i}: {parameter.Type} of {parameter.Bytes} bytes at {parameter.Offset} was declared, "
                    + $"but {typeof(T).Name}.{fields[i].Name} is {fields[i].FieldType.Name} of {bytes} bytes at {offset}");
            }
        }
    }

    private static int SizeOf(Type type) => (int)typeof(Unsafe).GetMethod(nameof(Unsafe.SizeOf))!.MakeGenericMethod(type).Invoke(null, null)!;

    [GeneratedRegex(
        @"\.param\s+(?:\.align\s+(?<align>\d+)\s+)?\.(?<type>[a-z]+\d+)\s+(?:\.ptr\s+(?:\.[a-z]+\s+(?:\d+\s+)?)*)?\w+(?:\[(?<count>\d+)\])?",
        RegexOptions.CultureInvariant,
        matchTimeoutMilliseconds: 5000)]
    private static partial Regex Parameter();
}
