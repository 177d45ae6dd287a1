using System.Text;
using ParVts.Engine;
using ParVts.Engine.Generation;
using ParVts.Native.Items;

namespace ParVts.Native;

/// <summary>The host's functions as delegates. Closures are made here and not in the calls themselves (<see cref="Call"/> says why).</summary>
internal static unsafe class HostCallbacks
{
    /// <summary>pv_text_callback: true cancels.</summary>
    public static Func<string, CancellationToken, bool>? OfText(delegate* unmanaged[Cdecl]<void*, byte*, nuint, int> callback, void* user)
    {
        return callback == null ? null : Hand;

        bool Hand(string piece, CancellationToken stop)
        {
            byte[] bytes = Encoding.UTF8.GetBytes(piece + '\0');
            fixed (byte* text = bytes)
                return callback(user, text, (nuint)(bytes.Length - 1)) != 0;
        }
    }

    /// <summary>pv_log_callback.</summary>
    public static Action<string>? OfLog(delegate* unmanaged[Cdecl]<void*, byte*, void> callback, void* user)
    {
        return callback == null ? null : Hand;

        void Hand(string message)
        {
            fixed (byte* text = Encoding.UTF8.GetBytes(message + '\0'))
                callback(user, text);
        }
    }

    /// <summary>pv_logits_callback.</summary>
    public static LogitsSink? OfLogits(delegate* unmanaged[Cdecl]<void*, int, float*, nuint, void> callback, void* user)
    {
        return callback == null ? null : Hand;

        void Hand(int step, ReadOnlySpan<float> logits)
        {
            fixed (float* first = logits)
                callback(user, step, first, (nuint)logits.Length);
        }
    }

    /// <summary>pv_policy_callback.</summary>
    public static KeepDecision OfPolicy(delegate* unmanaged[Cdecl]<void*, int, int, int*, float*, byte*, nuint, int> callback, void* user)
    {
        return Ask;

        bool[] Ask(int layer, int layers, ReadOnlySpan<int> tokens, ReadOnlySpan<float> scores)
        {
            byte[] keep = new byte[tokens.Length];
            Array.Fill(keep, (byte)1);
            int refused;
            fixed (int* firstToken = tokens)
            fixed (float* firstScore = scores)
            fixed (byte* firstKept = keep)
                refused = callback(user, layer, layers, firstToken, firstScore, firstKept, (nuint)tokens.Length);
            if (refused != 0)
                throw new PolicyException($"the host's policy stopped the run at layer {layer} (it returned {refused})");
            return [.. keep.Select(stays => stays != 0)];
        }
    }
}
