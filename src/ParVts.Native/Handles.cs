namespace ParVts.Native;

/// <summary>What a handle stands for.</summary>
internal enum HandleKind
{
    Options = 1,
    Engine = 2,
    Image = 3,
    Prompt = 4,
    Session = 5,
    Stream = 6,
    Result = 7,
    Kernels = 8,
    Plan = 9,
}

/// <summary>What can be handed out.</summary>
internal interface IHandled : IDisposable
{
    /// <summary>What it is.</summary>
    static abstract HandleKind Kind { get; }
}

/// <summary>
/// Numbers for objects. A number holds its kind, its place and how often the place was used before, so that one that was closed is
/// recognised also when its place is taken again. Any thread.
/// </summary>
internal static class Handles
{
    private const int KindShift = 56;
    private const int GenerationShift = 32;
    private const uint LastGeneration = (1 << (KindShift - GenerationShift)) - 1;

    private static readonly Lock s_gate = new();
    private static readonly List<Slot> s_slots = [];
    private static readonly Stack<int> s_free = new();

    /// <summary>Handles that are open, for tests of leaks.</summary>
    public static int Count
    {
        get
        {
            lock (s_gate)
                return s_slots.Count(slot => slot.Object is not null);
        }
    }

    /// <summary>Gives an object a handle.</summary>
    public static ulong Add<T>(T item)
        where T : class, IHandled
    {
        lock (s_gate)
        {
            if (!s_free.TryPop(out int place))
            {
                place = s_slots.Count;
                s_slots.Add(new Slot(null, 0));
            }

            uint generation = s_slots[place].Generation;
            s_slots[place] = new Slot(item, generation);
            return ((ulong)T.Kind << KindShift) | ((ulong)generation << GenerationShift) | (uint)(place + 1);
        }
    }

    /// <summary>The object of a handle.</summary>
    /// <exception cref="CallException">It is closed, of another kind, or was never given.</exception>
    public static T Get<T>(ulong handle)
        where T : class, IHandled
    {
        lock (s_gate)
            return Find<T>(handle, out _);
    }

    /// <summary>Takes a handle back, and disposes what it stood for; 0 is nothing.</summary>
    public static void Close<T>(ulong handle)
        where T : class, IHandled
    {
        if (handle == 0)
            return;
        T item;
        lock (s_gate)
        {
            item = Find<T>(handle, out int place);
            uint used = s_slots[place].Generation;
            s_slots[place] = new Slot(null, used + 1);

            // A place whose numbers are used up is not used again.
            if (used < LastGeneration)
                s_free.Push(place);
        }

        item.Dispose();
    }

    private static string Name(HandleKind kind) => kind.ToString().ToLowerInvariant();

    private static T Find<T>(ulong handle, out int place)
        where T : class, IHandled
    {
        if (handle == 0)
            throw new CallException(Status.BadHandle, $"the {Name(T.Kind)} is 0: there is none");
        var kind = (HandleKind)(handle >> KindShift);
        if (kind != T.Kind)
        {
            string given = Enum.IsDefined(kind) ? $"stands for something else: {Name(kind)}" : "was never given";
            throw new CallException(Status.BadHandle, $"handle 0x{handle:x} {given}; what is wanted here: {Name(T.Kind)}");
        }

        long index = (long)(uint)handle - 1;
        place = (int)index;
        uint generation = (uint)(handle >> GenerationShift) & LastGeneration;
        if (index < 0 || index >= s_slots.Count || generation > s_slots[place].Generation)
            throw new CallException(Status.BadHandle, $"handle 0x{handle:x} was never given");
        if (generation == s_slots[place].Generation && s_slots[place].Object is T item)
            return item;
        throw new CallException(Status.BadHandle, $"the {Name(T.Kind)} of handle 0x{handle:x} was closed");
    }

    private readonly record struct Slot(object? Object, uint Generation);
}
