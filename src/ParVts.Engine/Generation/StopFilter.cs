namespace ParVts.Engine.Generation;

/// <summary>
/// Holds back what may be the beginning of a stop text, so that no part of one is ever emitted. Allocates nothing once
/// its buffer has grown.
/// </summary>
internal sealed class StopFilter(IReadOnlyList<string> stops)
{
    private char[] _held = new char[256];
    private int _count;
    private int _emitted;

    /// <summary>True once a stop text was found.</summary>
    public bool Stopped { get; private set; }

    /// <summary>Takes a piece; returns what is certain not to belong to a stop text (valid until the next call).</summary>
    public ReadOnlySpan<char> Push(ReadOnlySpan<char> piece)
    {
        // What was returned last time is dropped now, not then: its span was still in use.
        _held.AsSpan(_emitted, _count - _emitted).CopyTo(_held);
        _count -= _emitted;
        if (_count + piece.Length > _held.Length)
            Array.Resize(ref _held, Math.Max(2 * _held.Length, _count + piece.Length));
        piece.CopyTo(_held.AsSpan(_count));
        _count += piece.Length;
        Span<char> text = _held.AsSpan(0, _count);
        int first = FirstStop(text);
        if (first >= 0)
        {
            Stopped = true;
            _emitted = _count;
            return text[..first];
        }

        _emitted = _count - PossibleBeginning(text);
        return text[.._emitted];
    }

    /// <summary>What was held back, once the answer has ended otherwise.</summary>
    public ReadOnlySpan<char> Rest() => _held.AsSpan(_emitted, _count - _emitted);

    // Where the text ends: before the stop text that is complete first, as if characters came one by one.
    private int FirstStop(ReadOnlySpan<char> text)
    {
        int first = -1;
        int firstEnd = int.MaxValue;
        for (int i = 0; i < stops.Count; i++)
        {
            int place = text.IndexOf(stops[i], StringComparison.Ordinal);
            int end = place + stops[i].Length;
            if (place < 0 || end > firstEnd || (end == firstEnd && place > first))
                continue;
            first = place;
            firstEnd = end;
        }

        return first;
    }

    // The length of the longest end of the text that begins a stop text.
    private int PossibleBeginning(ReadOnlySpan<char> text)
    {
        int longest = 0;
        for (int i = 0; i < stops.Count; i++)
        {
            for (int length = Math.Min(stops[i].Length - 1, text.Length); length > longest; length--)
            {
                if (text[^length..].SequenceEqual(stops[i].AsSpan(0, length)))
                    longest = length;
            }
        }

        return longest;
    }
}
