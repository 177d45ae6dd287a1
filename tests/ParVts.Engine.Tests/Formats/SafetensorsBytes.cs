using System.Buffers.Binary;
using System.Text;

namespace ParVts.Engine.Tests.Formats;

/// <summary>Makes safetensors files by hand, also such as the writer refuses to make.</summary>
internal static class SafetensorsBytes
{
    /// <summary>A file of the header as given, and as many zero bytes of data.</summary>
    public static byte[] Make(string header, int dataLength) => Make((ulong)Encoding.UTF8.GetByteCount(header), Encoding.UTF8.GetBytes(header), dataLength);

    /// <summary>The same with a length that need not be true.</summary>
    public static byte[] Make(ulong claimedLength, byte[] header, int dataLength)
    {
        byte[] file = new byte[8 + header.Length + dataLength];
        BinaryPrimitives.WriteUInt64LittleEndian(file, claimedLength);
        header.CopyTo(file, 8);
        return file;
    }

    /// <summary>One tensor's part of a header.</summary>
    public static string Entry(string name, string type, string shape, long begin, long end) =>
        $$"""
        "{{name}}":{"dtype":"{{type}}","shape":{{shape}},"data_offsets":[{{begin}},{{end}}]}
        """;
}
