using System.Runtime.CompilerServices;

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
    private int _tasks;
    private int _next;
    private int _generation;
    private int _sleeping;
    private int _busy;
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
            _threads[i] = new Thread(() => Work(worker)) { IsBackground = true, Name = $"parvts worker {worker}" };
            _threads[i].Start();
        }
    }

    /// <summary>Threads, the caller included; workers are numbered 0 (the caller) to Threads − 1.</summary>
    public int Threads { get; }

    /// <summary>
    /// Runs body(state, task, worker) for every task from 0 to <paramref name="tasks"/> − 1, in no order, and returns
    /// when all are done. The first exception is thrown again here.
    /// </summary>
    public void Run(int tasks, delegate*<void*, int, int, void> body, void* state)
    {
        if (t_insideTask || tasks <= 1 || Threads == 1)
        {
            // Alone, or from inside a task. Worker 0's scratch memory is the caller's own: it holds the turn, or no
            // other thread works on this queue.
            for (int task = 0; task < tasks; task++)
                body(state, task, 0);
            return;
        }

        lock (_turn)
        {
            ObjectDisposedException.ThrowIf(_stopped, this);
            _body = body;
            _state = state;
            _tasks = tasks;
            _failure = null;
            Volatile.Write(ref _busy, _threads.Length);
            Volatile.Write(ref _next, 0);
            Interlocked.Increment(ref _generation);
            int sleeping = Volatile.Read(ref _sleeping);
            if (sleeping > 0)
                _wake.Release(sleeping);
            Drain(0);
            var spin = new SpinWait();
            while (Volatile.Read(ref _busy) > 0)
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
            Interlocked.Increment(ref _generation);
            _wake.Release(_threads.Length);
        }

        foreach (Thread thread in _threads)
        {
            if (thread != Thread.CurrentThread)
                thread.Join();
        }

        _wake.Dispose();
    }

    private void Work(int worker)
    {
        int seen = 0;
        while (true)
        {
            WaitForNext(ref seen);
            if (_stopped)
                return;
            Drain(worker);
            Interlocked.Decrement(ref _busy);
        }
    }

    private void WaitForNext(ref int seen)
    {
        for (int i = 0; i < SpinIterations; i++)
        {
            if (Volatile.Read(ref _generation) != seen)
            {
                seen++;
                return;
            }

            Thread.SpinWait(10);
        }

        // Announce, then look again: a call that came in between either saw the announcement or is seen here. A
        // permit that was released needlessly only costs another look.
        Interlocked.Increment(ref _sleeping);
        while (Volatile.Read(ref _generation) == seen)
            _wake.Wait();
        Interlocked.Decrement(ref _sleeping);
        seen++;
    }

    private void Drain(int worker)
    {
        t_insideTask = true;
        try
        {
            for (int task = Take(); task < _tasks; task = Take())
                _body(_state, task, worker);
        }
        catch (Exception error)
        {
            Interlocked.CompareExchange(ref _failure, error, null);
            Volatile.Write(ref _next, int.MaxValue / 2);
        }
        finally
        {
            t_insideTask = false;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private int Take() => Interlocked.Increment(ref _next) - 1;
}
