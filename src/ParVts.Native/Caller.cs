using System.Runtime.InteropServices;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace ParVts.Native;

/// <summary>What goes in and out as memory of the caller's. Any thread.</summary>
internal static unsafe class Caller
{
    private static readonly UTF8Encoding s_strict = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);
    private static readonly JsonWriterOptions s_json = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>A text that must be there.</summary>
    /// <exception cref="CallException">It is null, or not UTF-8.</exception>
    public static string Read(byte* text, string name)
    {
        Call.Require(text, name);
        try
        {
            return s_strict.GetString(MemoryMarshal.CreateReadOnlySpanFromNullTerminated(text));
        }
        catch (DecoderFallbackException)
        {
            throw new CallException(Status.InvalidArgument, $"{name} is not UTF-8");
        }
    }

    /// <summary>A text that may be missing.</summary>
    public static string? ReadOrNull(byte* text, string name) => text == null ? null : Read(text, name);

    /// <summary>Elements that the caller gives.</summary>
    /// <exception cref="CallException">There are too many, or they are null and not none.</exception>
    public static ReadOnlySpan<T> Read<T>(T* elements, nuint count, string name)
        where T : unmanaged
    {
        if (count == 0)
            return [];
        Call.Require(elements, name);
        if (count > (nuint)(Array.MaxLength / sizeof(T)))
            throw new CallException(Status.InvalidArgument, $"{count} elements of {name} are more than can be");
        return new ReadOnlySpan<T>(elements, (int)count);
    }

    /// <summary>Hands numbers out: how many there are, and where there is room, they themselves.</summary>
    /// <exception cref="CallException">They do not fit, or there is nowhere to say how many there are.</exception>
    public static void Write<T>(ReadOnlySpan<T> values, T* target, nuint capacity, nuint* count)
        where T : unmanaged
    {
        Prepare(values.Length, target, capacity, count);
        if (!values.IsEmpty)
            values.CopyTo(new Span<T>(target, values.Length));
    }

    /// <summary>Hands a text out, with a zero byte behind it where there is room for one.</summary>
    /// <exception cref="CallException">It does not fit, or there is nowhere to say how long it is.</exception>
    public static void Write(string text, byte* target, nuint capacity, nuint* count)
    {
        int length = Encoding.UTF8.GetByteCount(text);
        Prepare(length, target, capacity, count);
        if (length > 0)
            Encoding.UTF8.GetBytes(text, new Span<byte>(target, length));
        if (capacity > (nuint)length)
            target[length] = 0;
    }

    /// <summary>Hands an object out as JSON.</summary>
    public static void WriteJson(Action<Utf8JsonWriter> members, byte* target, nuint capacity, nuint* count) =>
        Write(Json(members), target, capacity, count);

    /// <summary>An object as JSON.</summary>
    public static string Json(Action<Utf8JsonWriter> members)
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer, s_json))
        {
            json.WriteStartObject();
            members(json);
            json.WriteEndObject();
        }

        return Encoding.UTF8.GetString(buffer.GetBuffer(), 0, (int)buffer.Length);
    }

    private static void Prepare(int length, void* target, nuint capacity, nuint* count)
    {
        Call.Require(count, "count");
        if (capacity > 0)
            Call.Require(target, "the buffer");
        *count = (nuint)length;
        if (capacity < (nuint)length)
            throw new CallException(Status.TooSmall, $"there are {length}, and room for {capacity}", "call again with as much room as count says");
    }
}
