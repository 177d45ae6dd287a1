using System.Buffers.Binary;
using System.Text;

namespace ParVts.Engine.Text;

/// <summary>
/// Unicode normalisation (UAX #15) from tables of our own: .NET's needs ICU, which a bare system does not have.
/// The tables are made by tools/unicode/make_tables.py. Any thread.
/// </summary>
internal static class UnicodeNormalization
{
    private const int HangulBase = 0xAC00;
    private const int LeadBase = 0x1100;
    private const int VowelBase = 0x1161;
    private const int TrailBase = 0x11A7;
    private const int VowelCount = 21;
    private const int TrailCount = 28;
    private const int HangulCount = 19 * VowelCount * TrailCount;

    private static readonly Lazy<Tables> s_tables = new(Load);

    /// <summary>Normalises; <paramref name="compose"/> and <paramref name="compatibility"/> choose the form.</summary>
    public static string Normalize(string text, bool compose, bool compatibility)
    {
        if (Ascii.IsValid(text))
            return text;
        List<int> points = Decompose(text, compatibility);
        Order(points);
        if (compose)
            Compose(points);
        var result = new StringBuilder(text.Length);
        Span<char> pair = stackalloc char[2];
        foreach (int point in points)
        {
            if (Rune.TryCreate(point, out Rune rune))
                result.Append(pair[..rune.EncodeToUtf16(pair)]);
            else
                result.Append((char)point);
        }

        return result.ToString();
    }

    private static List<int> Decompose(string text, bool compatibility)
    {
        Tables tables = s_tables.Value;
        var points = new List<int>(text.Length + 16);
        for (int i = 0; i < text.Length; i++)
        {
            int point = text[i];
            if (char.IsHighSurrogate(text[i]) && i + 1 < text.Length && char.IsLowSurrogate(text[i + 1]))
                point = char.ConvertToUtf32(text[i], text[++i]);
            if (point < 0x80)
                points.Add(point);
            else if ((uint)(point - HangulBase) < HangulCount)
                DecomposeHangul(point - HangulBase, points);
            else if (compatibility && tables.Compatibility.TryGetValue(point, out int[]? wide))
                points.AddRange(wide);
            else if (tables.Canonical.TryGetValue(point, out int[]? parts))
                points.AddRange(parts);
            else
                points.Add(point);
        }

        return points;
    }

    private static void DecomposeHangul(int index, List<int> points)
    {
        points.Add(LeadBase + index / (VowelCount * TrailCount));
        points.Add(VowelBase + index % (VowelCount * TrailCount) / TrailCount);
        if (index % TrailCount != 0)
            points.Add(TrailBase + index % TrailCount);
    }

    // Canonical ordering: runs of combining characters are sorted by class, stably.
    private static void Order(List<int> points)
    {
        for (int i = 0; i < points.Count;)
        {
            if (ClassOf(points[i]) == 0)
            {
                i++;
                continue;
            }

            int end = i;
            while (end < points.Count && ClassOf(points[end]) != 0)
                end++;
            int[] sorted = [.. points[i..end].OrderBy(ClassOf)];
            for (int j = 0; j < sorted.Length; j++)
                points[i + j] = sorted[j];
            i = end;
        }
    }

    private static void Compose(List<int> points)
    {
        Dictionary<long, int> pairs = s_tables.Value.Compositions;
        int starter = -1;
        int lastClass = -1;
        int kept = 0;
        for (int i = 0; i < points.Count; i++)
        {
            int point = points[i];
            int combining = ClassOf(point);
            bool adjacent = starter >= 0 && (lastClass < combining || lastClass == -1);
            if (adjacent && TryCompose(pairs, points[starter], point, out int composed))
            {
                points[starter] = composed;
                continue;
            }

            if (combining == 0)
            {
                starter = kept;
                lastClass = -1;
            }
            else
            {
                lastClass = combining;
            }

            points[kept++] = point;
        }

        points.RemoveRange(kept, points.Count - kept);
    }

    private static bool TryCompose(Dictionary<long, int> pairs, int first, int second, out int composed)
    {
        if ((uint)(first - LeadBase) < 19 && (uint)(second - VowelBase) < VowelCount)
        {
            composed = HangulBase + ((first - LeadBase) * VowelCount + (second - VowelBase)) * TrailCount;
            return true;
        }

        if ((uint)(first - HangulBase) < HangulCount && (first - HangulBase) % TrailCount == 0
            && second > TrailBase && second < TrailBase + TrailCount)
        {
            composed = first + second - TrailBase;
            return true;
        }

        return pairs.TryGetValue(((long)first << 32) | (uint)second, out composed);
    }

    private static int ClassOf(int point) =>
        point < 0x300 ? 0 : s_tables.Value.Classes.GetValueOrDefault(point);

    private static Tables Load()
    {
        using Stream stream = typeof(UnicodeNormalization).Assembly.GetManifestResourceStream("ParVts.Engine.Text.unicode.bin")!;
        byte[] bytes = new byte[stream.Length];
        stream.ReadExactly(bytes);
        int place = 0;
        int Next()
        {
            int value = BinaryPrimitives.ReadInt32LittleEndian(bytes.AsSpan(place));
            place += sizeof(int);
            return value;
        }

        Dictionary<int, int[]> ReadDecompositions()
        {
            int count = Next();
            var table = new Dictionary<int, int[]>(count);
            for (int i = 0; i < count; i++)
            {
                int point = Next();
                int[] parts = new int[Next()];
                for (int j = 0; j < parts.Length; j++)
                    parts[j] = Next();
                table[point] = parts;
            }

            return table;
        }

        Dictionary<int, int[]> canonical = ReadDecompositions();
        Dictionary<int, int[]> compatibility = ReadDecompositions();
        var classes = new Dictionary<int, int>();
        for (int count = Next(); count > 0; count--)
            classes[Next()] = Next();
        var compositions = new Dictionary<long, int>();
        for (int count = Next(); count > 0; count--)
        {
            long first = Next();
            long second = (uint)Next();
            compositions[(first << 32) | second] = Next();
        }

        return new Tables(canonical, compatibility, classes, compositions);
    }

    private sealed record Tables(
        Dictionary<int, int[]> Canonical,
        Dictionary<int, int[]> Compatibility,
        Dictionary<int, int> Classes,
        Dictionary<long, int> Compositions);
}
