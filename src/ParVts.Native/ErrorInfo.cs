using System.Runtime.InteropServices;
using System.Text;

namespace ParVts.Native;

/// <summary>pv_error: what went wrong, in memory of the caller's.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct ErrorInfo
{
    public const int MessageBytes = 1024;
    public const int HintBytes = 512;

    public uint StructSize;
    public int Status;
    public fixed byte Message[MessageBytes];
    public fixed byte Hint[HintBytes];

    /// <summary>True where the caller's structure is one that this library knows; a larger one belongs to a newer header.</summary>
    public static bool IsKnown(ErrorInfo* error) => error->StructSize >= (uint)sizeof(ErrorInfo);

    /// <summary>Fills it.</summary>
    public static void Fill(ErrorInfo* error, Status status, string message, string hint)
    {
        error->Status = (int)status;
        Write(message, error->Message, MessageBytes);
        Write(hint, error->Hint, HintBytes);
    }

    // Whole characters only, and a zero byte at the end.
    private static void Write(string text, byte* target, int capacity)
    {
        var span = new Span<byte>(target, capacity - 1);
        Encoding.UTF8.GetEncoder().Convert(text, span, flush: true, out _, out int used, out _);
        target[used] = 0;
    }
}
