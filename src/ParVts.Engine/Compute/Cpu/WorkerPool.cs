namespace ParVts.Engine.Compute.Cpu;

/// <summary>
/// The CPU's threads. <see cref="Run"/> spreads tasks over them and the caller; it allocates nothing. Calls of several
/// threads take turns, a call from inside a task runs at once in that thread. Idle threads spin for a moment, because
/// a decode step issues hundreds of small calls, and then sleep.
/// </summary>
internal sealed unsafe class WorkerPool : IDisposable
{
    private const int SpinIterations = 2000;

    private readonly Lock _turn = new();
    private readonly Thread[] _threads;
    private readonly SemaphoreSlim _wake = new(0);
    [ThreadStatic]
    private static bool t_insideTask;
    private delegate*<void*, int, int, void> _body;
    private void* _state;

    // The call's number in the upper half, its tasks that nobody has taken in the lower: a thread that comes late for a call cannot take
    // a task of the next one by mistake, so nobody has to wait until every thread has looked.
    private long _ticket;
    private int _done;
    private int _sleeping;
    private Exception? _failure;
    private volatile bool _stopped;

    /// <summary>A pool of <paramref name="threads"/> threads, the caller of <see cref="Run"/> included.</summary>
    public WorkerPool(int threads)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(threads, 1);
        Threads = threads;
        _threads = new Thread[threads - 1];
        for (int i = 0; i < _threads.Length; i++)
        {
            int worker = i + 1;
            try
            {
                _threads[i] = new Thread(() => Work(worker)) { IsBackground = true, Name = $"parvts worker {worker}" };
                _threads[i].Start();
            }
            catch
            {
                // The system has no more threads to give: those that run already must not stay.
                _threads = _threads[..i];
                Dispose();
                throw;
            }
        }
    }

    /// <summary>Threads, the caller included; workers are numbered 0 (the caller) to Threads − 1.</summary>
    public int Threads { get; }

    /// <summary>
    /// Runs body(state, task, worker) for every task from <paramref name="tasks"/> − 1 down to 0, and returns
    /// when all are done. The first exception is thrown again here.
    /// </summary>
    public void Run(int tasks, delegate*<void*, int, int, void> body, void* state)
    {
        if (t_insideTask || tasks <= 1 || Threads == 1)
        {
            // Alone, or from inside a task. Worker 0's scratch memory is the caller's own: it holds the turn, or no
            // other thread works on this queue.
            for (int task = tasks - 1; task >= 0; task--)
                body(state, task, 0);
            return;
        }

        lock (_turn)
        {
            ObjectDisposedException.ThrowIf(_stopped, this);
            _body = body;
            _state = state;
            _failure = null;
            _done = 0;
            Volatile.Write(ref _ticket, (((_ticket >> 32) + 1) << 32) | (uint)tasks);
            Interlocked.MemoryBarrier();
            Wake(Math.Min(Volatile.Read(ref _sleeping), tasks - 1));
            Drain(0);
            var spin = new SpinWait();
            while (Volatile.Read(ref _done) < tasks)
                spin.SpinOnce(sleep1Threshold: -1);
            if (_failure is not null)
                System.Runtime.ExceptionServices.ExceptionDispatchInfo.Throw(_failure);
        }
    }

    /// <summary>Ends the threads; a call under way is finished first.</summary>
    public void Dispose()
    {
        lock (_turn)
        {
            if (_stopped)
                return;
            _stopped = true;
            Wake(_threads.Length);
        }

        foreach (Thread thread in _threads)
        {
            if (thread != Thread.CurrentThread)
                thread.Join();
        }

        _wake.Dispose();
    }

    private void Wake(int threads)
    {
        if (threads > 0)
            _wake.Release(threads);
    }

    private void Work(int worker)
    {
        long seen = 0;
        while (WaitForNext(ref seen))
            Drain(worker);
    }

    // False once the pool is disposed.
    private bool WaitForNext(ref long seen)
    {
        for (int i = 0; i < SpinIterations && !_stopped; i++)
        {
            if (IsNew(ref seen))
                return true;
            Thread.SpinWait(10);
        }

        // Announce, then look again: a call that came in between either saw the announcement or is seen here. A
        // permit that was released needlessly only costs another look.
        Interlocked.Increment(ref _sleeping);
        bool found = false;
        while (!_stopped && !(found = IsNew(ref seen)))
            Sleep();
        Interlocked.Decrement(ref _sleeping);
        return found;
    }

    // A thread's first wait takes memory. Where there is none, the thread stays awake: what it threw would end the process.
    private void Sleep()
    {
        try
        {
            _wake.Wait();
        }
        catch (OutOfMemoryException)
        {
            Thread.Yield();
        }
    }

    private bool IsNew(ref long seen)
    {
        long call = Volatile.Read(ref _ticket) >> 32;
        bool isNew = call != seen;
        seen = call;
        return isNew;
    }

    private void Drain(int worker)
    {
        t_insideTask = true;
        while (TryTake(out int task))
        {
            try
            {
                if (_failure is null)
                    _body(_state, task, worker);
            }
            catch (Exception error)
            {
                Interlocked.CompareExchange(ref _failure, error, null);
            }

            Interlocked.Increment(ref _done);
        }

        t_insideTask = false;
    }

    // While a task is taken and not done, its call is not over, so body and state are the call's. The last task goes
    // first.
    private bool TryTake(out int task)
    {
        while (true)
        {
            long ticket = Volatile.Read(ref _ticket);
            task = (int)ticket - 1;
            if (task < 0)
                return false;
            if (Interlocked.CompareExchange(ref _ticket, ticket - 1, ticket) == ticket)
                return true;
        }
    }
}
