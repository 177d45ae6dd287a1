using System.Buffers.Binary;
using System.Text;

namespace ParVts.Engine.Tests.Fuzz;

/// <summary>
/// Damages a valid file in the ways that files get damaged, and in those that an attacker would try. The same seed and
/// the same <see cref="Random"/> state always give the same result, so a failing input is found again by its number.
/// </summary>
internal static class Mutator
{
    private const int MaxGrowth = 256;

    private static readonly ulong[] InterestingIntegers =
    [
        0, 1, 2, 7, 8, 16, 127, 128, 255, 256, 32767, 32768, 65535, 65536,
        int.MaxValue - 1UL, int.MaxValue, int.MaxValue + 1UL, uint.MaxValue, uint.MaxValue + 1UL,
        100_000_000, 100_000_001, 1UL << 40,
        long.MaxValue - 8UL, long.MaxValue - 1UL, long.MaxValue, 1UL << 63, ulong.MaxValue - 7, ulong.MaxValue,
    ];

    // What is put in the place of a piece of JSON, or between two: wrong types, wrong sizes, broken syntax.
    private static readonly byte[][] JsonTokens = [.. new[]
    {
        "null", "true", "false", "0", "-0", "-1", "1", "2", "3", "1.5", "-1e308", "1e400", "1e-400", "NaN", "Infinity",
        "2147483647", "2147483648", "-2147483649", "4294967296", "9223372036854775807", "9223372036854775808",
        "-9223372036854775808", "18446744073709551615", "18446744073709551616", "100000000000000000000000000000",
        "\"\"", "\"a\"", "\"\\u0000\"", "\"\\ud800\"", "\"\\udc00\\ud800\"", "\"\\x\"", "\"../../x\"", "\"/etc/passwd\"",
        "[]", "{}", "[[]]", "[0]", "[null]", "[-1]", "{\"a\":1}", "{\"\":{}}",
        "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
        "{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":",
        ",", ":", "{", "}", "[", "]", "\"", "\\", "//", "/**/", " ", "\n", "\0", "\uFEFF", "é", "\U0001F600",
    }.Select(Encoding.UTF8.GetBytes), [0xFF], [0xC0, 0x80], [0xED, 0xA0, 0x80], [0xF4, 0x90, 0x80, 0x80]];

    /// <summary>A damaged copy of <paramref name="seed"/>: mostly one change, sometimes up to four.</summary>
    public static byte[] Mutate(byte[] seed, Random random)
    {
        var bytes = new List<byte>(seed.Length + MaxGrowth);
        bytes.AddRange(seed);
        int changes = random.Next(3) == 0 ? random.Next(2, 5) : 1;
        for (int i = 0; i < changes; i++)
            ChangeOnce(bytes, random);
        return [.. bytes];
    }

    private static void ChangeOnce(List<byte> bytes, Random random)
    {
        if (bytes.Count == 0)
        {
            bytes.Add((byte)random.Next(256));
            return;
        }

        switch (random.Next(12))
        {
            case 0: FlipBit(bytes, random); break;
            case 1: SetByte(bytes, random); break;
            case 2: Insert(bytes, random); break;
            case 3: Delete(bytes, random); break;
            case 4: Truncate(bytes, random); break;
            case 5: CopyBlock(bytes, random, insert: false); break;
            case 6: CopyBlock(bytes, random, insert: true); break;
            case 7: Fill(bytes, random); break;
            case 8: SetInteger(bytes, random); break;
            case 9: ReplaceDigits(bytes, random); break;
            case 10: ReplaceJsonValue(bytes, random); break;
            default: InsertJsonToken(bytes, random); break;
        }
    }

    private static void FlipBit(List<byte> bytes, Random random) => bytes[Position(bytes, random)] ^= (byte)(1 << random.Next(8));

    private static void SetByte(List<byte> bytes, Random random) => bytes[Position(bytes, random)] = (byte)random.Next(256);

    private static void Insert(List<byte> bytes, Random random)
    {
        byte[] added = new byte[Length(random)];
        random.NextBytes(added);
        bytes.InsertRange(random.Next(bytes.Count + 1), added);
    }

    private static void Delete(List<byte> bytes, Random random)
    {
        int at = Position(bytes, random);
        bytes.RemoveRange(at, Math.Min(Length(random), bytes.Count - at));
    }

    private static void Truncate(List<byte> bytes, Random random)
    {
        int at = random.Next(2) == 0 ? random.Next(bytes.Count) : Math.Max(0, bytes.Count - Length(random));
        bytes.RemoveRange(at, bytes.Count - at);
    }

    private static void CopyBlock(List<byte> bytes, Random random, bool insert)
    {
        int from = Position(bytes, random);
        byte[] block = [.. bytes.GetRange(from, Math.Min(Length(random), bytes.Count - from))];
        int to = Position(bytes, random);
        if (insert)
            bytes.InsertRange(to, block);
        else
            Overwrite(bytes, to, block);
    }

    private static void Fill(List<byte> bytes, Random random)
    {
        int at = Position(bytes, random);
        byte value = random.Next(3) switch { 0 => 0, 1 => 0xFF, _ => (byte)random.Next(256) };
        int end = Math.Min(bytes.Count, at + Length(random));
        for (int i = at; i < end; i++)
            bytes[i] = value;
    }

    private static void SetInteger(List<byte> bytes, Random random)
    {
        ulong value = InterestingIntegers[random.Next(InterestingIntegers.Length)];
        int size = 1 << random.Next(4);
        Span<byte> encoded = stackalloc byte[8];
        if (random.Next(2) == 0)
        {
            BinaryPrimitives.WriteUInt64LittleEndian(encoded, value);
            encoded = encoded[..size];
        }
        else
        {
            BinaryPrimitives.WriteUInt64BigEndian(encoded, value);
            encoded = encoded[^size..];
        }

        // The very first bytes of a file are most often a length or a magic number.
        int at = random.Next(4) == 0 ? 0 : Position(bytes, random);
        Overwrite(bytes, at, encoded);
    }

    /// <summary>Another number, in decimal, in the place of one that is written out as text.</summary>
    private static void ReplaceDigits(List<byte> bytes, Random random)
    {
        int start = bytes.FindIndex(Position(bytes, random), b => b is >= (byte)'0' and <= (byte)'9');
        if (start < 0)
        {
            SetInteger(bytes, random);
            return;
        }

        int end = start;
        while (end < bytes.Count && bytes[end] is >= (byte)'0' and <= (byte)'9')
            end++;
        string number = InterestingIntegers[random.Next(InterestingIntegers.Length)].ToString();
        if (random.Next(4) == 0)
            number = "-" + number;
        bytes.RemoveRange(start, end - start);
        bytes.InsertRange(start, Encoding.ASCII.GetBytes(number));
    }

    /// <summary>Puts a token, or another piece of the same file, in the place of what follows a colon.</summary>
    private static void ReplaceJsonValue(List<byte> bytes, Random random)
    {
        int colon = bytes.IndexOf((byte)':', Position(bytes, random));
        if (colon < 0)
        {
            InsertJsonToken(bytes, random);
            return;
        }

        int end = colon + 1;
        while (end < bytes.Count && bytes[end] is not ((byte)',' or (byte)'}' or (byte)']'))
            end++;
        bytes.RemoveRange(colon + 1, end - colon - 1);
        bytes.InsertRange(colon + 1, Token(random));
    }

    private static void InsertJsonToken(List<byte> bytes, Random random) =>
        bytes.InsertRange(random.Next(bytes.Count + 1), Token(random));

    private static byte[] Token(Random random) => JsonTokens[random.Next(JsonTokens.Length)];

    private static void Overwrite(List<byte> bytes, int at, ReadOnlySpan<byte> block)
    {
        for (int i = 0; i < block.Length && at + i < bytes.Count; i++)
            bytes[at + i] = block[i];
    }

    private static int Position(List<byte> bytes, Random random) => bytes.Count == 0 ? 0 : random.Next(bytes.Count);

    // Short pieces most of the time, now and then a long one.
    private static int Length(Random random) => 1 + random.Next(random.Next(4) == 0 ? MaxGrowth : 8);
}
