namespace ParVts.Engine.Formats;

/// <summary>Names and sizes of the safetensors element types. Any thread may call these.</summary>
public static class TensorTypes
{
    // In the order of the enumeration.
    private static readonly (string Name, int Bits)[] Table =
    [
        ("F4", 4), ("F6_E2M3", 6), ("F6_E3M2", 6), ("BOOL", 8), ("U8", 8), ("I8", 8),
        ("F8_E5M2", 8), ("F8_E4M3", 8), ("F8_E8M0", 8), ("F8_E4M3FNUZ", 8), ("F8_E5M2FNUZ", 8),
        ("I16", 16), ("U16", 16), ("F16", 16), ("BF16", 16), ("I32", 32), ("U32", 32), ("F32", 32),
        ("C64", 64), ("F64", 64), ("I64", 64), ("U64", 64),
    ];

    /// <summary>The type's name in a safetensors header: "BF16", "F8_E4M3" …</summary>
    public static string Name(this TensorType type) => Table[(int)type].Name;

    /// <summary>The size of one element in bits: 4, 6, 8, 16, 32 or 64.</summary>
    public static int Bits(this TensorType type) => Table[(int)type].Bits;

    /// <summary>Finds a type by its name in a safetensors header; names are case-sensitive.</summary>
    public static bool TryParse(string name, out TensorType type)
    {
        int index = Array.FindIndex(Table, entry => entry.Name == name);
        type = index < 0 ? default : (TensorType)index;
        return index >= 0;
    }

    /// <summary>Every name, for error messages.</summary>
    internal static string KnownNames => string.Join(", ", Table.Select(entry => entry.Name));

    /// <summary>
    /// How many bytes a tensor has. False where an extent is negative, where the size overflows, or where the bits do not
    /// fill whole bytes.
    /// </summary>
    internal static bool TryGetByteLength(this TensorType type, ReadOnlySpan<long> shape, out long bytes)
    {
        bytes = 0;
        UInt128 elements = 1;
        foreach (long extent in shape)
        {
            if (extent < 0)
                return false;

            // Both factors are below 2^64, so the product is exact; it must stay in range even if a later extent is 0.
            elements *= (ulong)extent;
            if (elements > long.MaxValue)
                return false;
        }

        UInt128 bits = elements * (uint)type.Bits();
        if (bits % 8 != 0 || bits / 8 > long.MaxValue)
            return false;
        bytes = (long)(bits / 8);
        return true;
    }
}
