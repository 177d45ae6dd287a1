namespace ParVts.Runner.Output;

/// <summary>Orders names as people do: layer 2 before layer 10.</summary>
internal static class NaturalOrder
{
    /// <summary>Compares runs of digits by value, everything else by character.</summary>
    public static int Compare(string a, string b)
    {
        int i = 0;
        int j = 0;
        while (i < a.Length && j < b.Length)
        {
            int order = char.IsAsciiDigit(a[i]) && char.IsAsciiDigit(b[j])
                ? CompareNumbers(a, ref i, b, ref j)
                : a[i++].CompareTo(b[j++]);
            if (order != 0)
                return order;
        }

        return (a.Length - i).CompareTo(b.Length - j);
    }

    private static int CompareNumbers(string a, ref int i, string b, ref int j)
    {
        ReadOnlySpan<char> left = TakeDigits(a, ref i);
        ReadOnlySpan<char> right = TakeDigits(b, ref j);
        int order = left.Length.CompareTo(right.Length);
        return order != 0 ? order : left.SequenceCompareTo(right);
    }

    private static ReadOnlySpan<char> TakeDigits(string text, ref int place)
    {
        int start = place;
        while (place < text.Length && char.IsAsciiDigit(text[place]))
            place++;
        return text.AsSpan(start, place - start).TrimStart('0');
    }
}
