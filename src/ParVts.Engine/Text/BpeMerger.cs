namespace ParVts.Engine.Text;

/// <summary>
/// Merges the symbols of one word. Pairs that can be merged wait in one queue for each rank, in order of place; a heap
/// holds only the ranks that occur. Pairs come up from left to right nearly always, so that nearly every step is O(1),
/// also for a word of a million equal letters, where a heap of all pairs would take seconds.
/// </summary>
internal sealed class BpeMerger
{
    private readonly Dictionary<long, (int Rank, int Merged)> _merges;
    private readonly Dictionary<int, RankQueue> _queues = [];
    private readonly PriorityQueue<RankQueue, int> _ranks = new();

    // A doubly linked list; an id of −1 is a symbol that was merged away, a link of −1 an end.
    private readonly int[] _ids;
    private readonly int[] _next;
    private readonly int[] _previous;

    public BpeMerger(Dictionary<long, (int Rank, int Merged)> merges, List<int> symbols)
    {
        _merges = merges;
        _ids = [.. symbols];
        _next = new int[_ids.Length];
        _previous = new int[_ids.Length];
        for (int i = 0; i < _ids.Length; i++)
        {
            _next[i] = i + 1 < _ids.Length ? i + 1 : -1;
            _previous[i] = i - 1;
        }
    }

    /// <summary>Merges until no pair is left to merge, and appends the ids.</summary>
    public void Run(List<int> result)
    {
        for (int i = 0; i + 1 < _ids.Length; i++)
            Offer(i, i + 1);
        while (_ranks.TryPeek(out RankQueue? queue, out int rank))
        {
            if (!queue.TryTake(out int left))
            {
                queue.IsListed = false;
                _ranks.Dequeue();
                continue;
            }

            // The pair may no longer be what it was when it was put there.
            int right = _ids[left] < 0 ? -1 : _next[left];
            if (right >= 0
                && _merges.TryGetValue(Bpe.Pair(_ids[left], _ids[right]), out (int Rank, int Merged) merge)
                && merge.Rank == rank)
            {
                Join(left, right, merge.Merged);
            }
        }

        for (int i = 0; i >= 0; i = _next[i])
            result.Add(_ids[i]);
    }

    private void Join(int left, int right, int merged)
    {
        _ids[left] = merged;
        _ids[right] = -1;
        _next[left] = _next[right];
        if (_next[right] >= 0)
            _previous[_next[right]] = left;
        Offer(_previous[left], left);
        Offer(left, _next[left]);
    }

    private void Offer(int left, int right)
    {
        if (left < 0 || right < 0 || !_merges.TryGetValue(Bpe.Pair(_ids[left], _ids[right]), out (int Rank, int Merged) merge))
            return;
        if (!_queues.TryGetValue(merge.Rank, out RankQueue? queue))
            _queues[merge.Rank] = queue = new RankQueue();
        queue.Add(left);
        if (queue.IsListed)
            return;
        queue.IsListed = true;
        _ranks.Enqueue(queue, merge.Rank);
    }

    /// <summary>Places in ascending order: a plain queue, and a heap for those that came out of order.</summary>
    private sealed class RankQueue
    {
        private readonly List<int> _places = [];
        private PriorityQueue<int, int>? _late;
        private int _head;

        public bool IsListed { get; set; }

        public void Add(int place)
        {
            if (_head == _places.Count)
            {
                _places.Clear();
                _head = 0;
            }

            if (_places.Count == 0 || place >= _places[^1])
                _places.Add(place);
            else
                (_late ??= new PriorityQueue<int, int>()).Enqueue(place, place);
        }

        public bool TryTake(out int place)
        {
            bool hasPlace = _head < _places.Count;
            if (_late is not null && _late.TryPeek(out place, out _) && (!hasPlace || place < _places[_head]))
            {
                _late.Dequeue();
                return true;
            }

            place = hasPlace ? _places[_head++] : 0;
            return hasPlace;
        }
    }
}
