using System.Runtime.InteropServices;
using ParVts.Cuda;
using ParVts.Engine.Formats;

namespace ParVts.Engine.Compute.Cuda;

/// <summary>Sampling on a GPU (kernels/sample.cu). All that it keeps lies in one piece of device memory.</summary>
internal sealed unsafe class CudaSampler : DeviceSampler
{
    private const int SampleThreads = 1024;

    // The state, then the token; the host reads both at once.
    private const int TokenAt = 32;
    private const int HeadBytes = 64;

    private readonly CudaDevice _device;
    private readonly int _vocabulary;
    private readonly byte[] _head = new byte[TokenAt + sizeof(int)];
    private DeviceBuffer _memory;
    private int _stopRoom = 8;
    private int _outputRoom = 64;
    private int _stops;
    private SamplingRules _rules;
    private int _layout;

    public CudaSampler(CudaDevice device, int vocabulary)
    {
        _device = device;
        _vocabulary = vocabulary;
        _memory = device.Allocate(Bytes);
    }

    /// <inheritdoc/>
    public override Tensor Token => _memory.View(TensorType.I32, 1, 1, TokenAt);

    /// <inheritdoc/>
    public override int Layout => _layout;

    private int SeenWords => (_vocabulary + 31) / 32;

    private long SeenAt => HeadBytes;

    private long StopsAt => SeenAt + SeenWords * sizeof(uint);

    private long OutputAt => StopsAt + _stopRoom * sizeof(int);

    private long Bytes => OutputAt + _outputRoom * sizeof(int);

    /// <inheritdoc/>
    public override void Begin(in SamplingRules rules, ulong seed, int most, ReadOnlySpan<int> stopIds, ReadOnlySpan<int> seen)
    {
        if (most > _outputRoom || stopIds.Length > _stopRoom)
        {
            (int outputRoom, int stopRoom) = (_outputRoom, _stopRoom);
            _outputRoom = Math.Max(_outputRoom, most);
            _stopRoom = Math.Max(_stopRoom, stopIds.Length);
            try
            {
                DeviceBuffer larger = _device.Allocate(Bytes);
                _memory.Dispose();
                _memory = larger;
            }
            catch
            {
                (_outputRoom, _stopRoom) = (outputRoom, stopRoom);
                throw;
            }

            _layout++;
        }

        // What a launch is given is part of a recording.
        if (rules != _rules || stopIds.Length != _stops)
            _layout++;
        _rules = rules;
        _stops = stopIds.Length;
        Span<byte> head = stackalloc byte[HeadBytes];
        head.Clear();
        var state = new SampleState { Generator = seed };
        MemoryMarshal.Write(head, in state);
        _device.Upload<byte>(head, _memory.View(TensorType.I32, 1, HeadBytes / sizeof(int)));
        if (stopIds.Length > 0)
            _device.Upload(stopIds, _memory.View(TensorType.I32, 1, stopIds.Length, StopsAt));
        if (rules.RepetitionPenalty != 1f)
            UploadSeen(seen);
    }

    /// <inheritdoc/>
    public override void Choose(in Tensor logits)
    {
        if (logits.Columns != _vocabulary || logits.Type != TensorType.F32)
            throw new ArgumentException("Sample: the logits are not the vocabulary's", nameof(logits));
        ulong memory = (ulong)_memory.DangerousGetHandle();
        ulong seen = _rules.RepetitionPenalty == 1f ? 0 : memory + (ulong)SeenAt;
        var shape = new LaunchShape(1, 1, 1, SampleThreads);
        if (_rules.Temperature == 0f)
        {
            _device.Launch(new KernelId("sample.cu", "sample_greedy"), shape, new SampleGreedyArguments
            {
                Logits = (ulong)logits.Address,
                Vocabulary = _vocabulary,
                Seen = seen,
                Penalty = _rules.RepetitionPenalty,
                StopIds = memory + (ulong)StopsAt,
                StopCount = _stops,
                State = memory,
                Token = memory + TokenAt,
                Output = memory + (ulong)OutputAt,
                Capacity = _outputRoom,
            });
            return;
        }

        _device.Launch(new KernelId("sample.cu", "sample"), shape, new SampleArguments
        {
            Logits = (ulong)logits.Address,
            Vocabulary = _vocabulary,
            Seen = seen,
            Penalty = _rules.RepetitionPenalty,
            Inverse = SampleWeight.Inverse(_rules.Temperature),
            TopK = _rules.TopK,
            TopP = _rules.TopP < 1f ? SampleWeight.Share(_rules.TopP) : 0,
            Least = SampleWeight.Least(_rules.MinP),
            StopIds = memory + (ulong)StopsAt,
            StopCount = _stops,
            State = memory,
            Token = memory + TokenAt,
            Output = memory + (ulong)OutputAt,
            Capacity = _outputRoom,
        });
    }

    /// <inheritdoc/>
    public override (int Token, bool SawNaN) Read()
    {
        const int noNumber = 2;
        _device.Download<byte>(_memory.View(TensorType.I32, 1, _head.Length / sizeof(int)), _head);
        SampleState state = MemoryMarshal.Read<SampleState>(_head);
        int token = MemoryMarshal.Read<int>(_head.AsSpan(TokenAt));
        return (state.Stop == noNumber ? -1 : token, state.SawNaN != 0);
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (disposing)
            _memory.Dispose();
    }

    private void UploadSeen(ReadOnlySpan<int> seen)
    {
        uint[] bits = new uint[SeenWords];
        foreach (int id in seen)
            bits[id / 32] |= 1u << (id % 32);
        _device.Upload<uint>(bits, _memory.View(TensorType.I32, 1, bits.Length, SeenAt));
    }
}
