using System.Runtime.InteropServices;
using ParVts.Engine.Compute;
using ParVts.Engine.Formats;
using ParVts.GpuSim.Driver;

namespace ParVts.Native.Tests;

/// <summary>Results as they lie in memory, by name.</summary>
internal sealed record KernelResults(IReadOnlyDictionary<string, byte[]> All);

/// <summary>Queries, keys and values, and the same calls of kernels by the engine's device and by a C host.</summary>
internal sealed unsafe class KernelData : IDisposable
{
    private const TensorType Type = TensorType.BF16;

    private static readonly int[] s_probed = [3, 17, 30];
    private static readonly int[] s_first = [5, 6, 7];
    private static readonly int[] s_second = [21, 22, 23];

    private readonly AttentionPlan _plan;
    private readonly int _rows;
    private readonly int _keys;
    private readonly int _heads;
    private readonly int _kvHeads;
    private readonly int _headDim;
    private readonly float[] _q;
    private readonly float[] _k;
    private readonly float[] _v;
    private readonly List<GCHandle> _pins = [];

    public KernelData(Random random, AttentionPlan plan, int rows, int keys, int heads, int kvHeads, int headDim)
    {
        (_plan, _rows, _keys, _heads, _kvHeads, _headDim) = (plan, rows, keys, heads, kvHeads, headDim);
        _q = Values(random, rows * heads * headDim);
        _k = Values(random, keys * kvHeads * headDim);
        _v = Values(random, keys * kvHeads * headDim);
    }

    private float Scale => 1f / MathF.Sqrt(_headDim);

    private int Columns => _heads * _headDim;

    /// <summary>By the engine's own store and device.</summary>
    public KernelResults Compute(ComputeDevice device)
    {
        List<DeviceBuffer> buffers = [];
        Tensor Room(TensorType type, int rows, int columns)
        {
            DeviceBuffer buffer = device.Allocate((long)rows * columns * new Tensor(0, type, 0, 0).ElementBytes);
            buffers.Add(buffer);
            return buffer.View(type, rows, columns);
        }

        Tensor Send<T>(T[] values, TensorType type, int rows)
            where T : unmanaged
        {
            Tensor tensor = Room(type, rows, values.Length / rows);
            device.Upload<T>(values, tensor);
            return tensor;
        }

        byte[] Read(Tensor tensor)
        {
            byte[] bytes = new byte[tensor.Rows * tensor.Columns * tensor.ElementBytes];
            device.Download(tensor, bytes.AsSpan());
            return bytes;
        }

        using var store = new KvStore(device, 1, _kvHeads, _headDim, Type);
        try
        {
            store.Reserve(KvNeeds.Uniform(1, _keys));
            store.Extend(0, _keys);
            KvLayer layer = store.Layer(0);
            device.RopeStore(default, Send(_k, TensorType.F32, _keys), Send(_v, TensorType.F32, _keys), default, layer, 0);
            Tensor q = Send(_q, TensorType.F32, _rows);
            Tensor output = Room(Type, _rows, Columns);
            Tensor sumsOfRows = Room(TensorType.F32, _rows, _heads);
            Tensor named = Send(s_probed, TensorType.I32, 1);
            Tensor probe = Room(TensorType.F32, 1, _keys);
            Tensor preProbe = Room(TensorType.F32, 1, _keys);
            Tensor sums = Room(TensorType.F32, 2 * s_probed.Length, _keys);
            Tensor squares = Room(TensorType.F32, 1, s_probed.Length);
            Tensor decode = Room(Type, 1, Columns);
            Tensor first = Send(s_first, TensorType.I32, 1);
            Tensor second = Send(s_second, TensorType.I32, 1);
            Tensor weights = Room(TensorType.F32, 1, s_first.Length);
            Tensor fused = Send(_q, TensorType.F32, _rows);
            device.SegmentAttention(q, layer, _plan, Scale, output, sumsOfRows);
            device.Probe(q, layer, _plan, Scale, sumsOfRows, named, ProbeReduction.RowsAndHeads, probe);
            device.PreProbe(q, layer, _plan, Scale, named, ProbeReduction.RowsAndHeads, preProbe);
            device.ValueProbe(q, Send(_q, TensorType.F32, _rows).Slice(0, s_probed.Length), layer, _plan, Scale, sumsOfRows, named, sums, squares);
            device.DecodeAttention(q.Slice(_rows - 1, 1), layer, Scale, decode);
            device.PathWeights(sumsOfRows, first, second, weights);
            device.FusePaths(fused, first, second, weights);
            return new KernelResults(new Dictionary<string, byte[]>
            {
                ["output"] = Read(output),
                ["log_sum_exp"] = Read(sumsOfRows),
                ["probe"] = Read(probe),
                ["pre_probe"] = Read(preProbe),
                ["sums"] = Read(sums),
                ["squares"] = Read(squares),
                ["decode"] = Read(decode),
                ["weights"] = Read(weights),
                ["fused"] = Read(fused),
            });
        }
        finally
        {
            foreach (DeviceBuffer buffer in buffers)
                buffer.Dispose();
        }
    }

    /// <summary>By clients/kernel_host.c, on a simulated driver.</summary>
    public KernelResults ComputeInC(SimDriver sim)
    {
        nint Function(string name) => sim.Functions.Require(name, "11.4");
        var results = new Dictionary<string, byte[]>
        {
            ["output"] = new byte[_rows * Columns * sizeof(ushort)],
            ["log_sum_exp"] = new byte[_rows * _heads * sizeof(float)],
            ["probe"] = new byte[_keys * sizeof(float)],
            ["pre_probe"] = new byte[_keys * sizeof(float)],
            ["sums"] = new byte[2 * s_probed.Length * _keys * sizeof(float)],
            ["squares"] = new byte[s_probed.Length * sizeof(float)],
            ["decode"] = new byte[Columns * sizeof(ushort)],
            ["weights"] = new byte[s_first.Length * sizeof(float)],
            ["fused"] = new byte[_rows * Columns * sizeof(float)],
        };
        PlanInfo plan = Flatten();
        var driver = new HostDriver
        {
            Allocate = Function("cuMemAlloc_v2"),
            Free = Function("cuMemFree_v2"),
            Upload = Function("cuMemcpyHtoDAsync_v2"),
            Download = Function("cuMemcpyDtoHAsync_v2"),
            CreateStream = Function("cuStreamCreate"),
            DestroyStream = Function("cuStreamDestroy_v2"),
            Synchronize = Function("cuStreamSynchronize"),
            Retain = Function("cuDevicePrimaryCtxRetain"),
            Release = Function("cuDevicePrimaryCtxRelease_v2"),
            Push = Function("cuCtxPushCurrent_v2"),
            Pop = Function("cuCtxPopCurrent_v2"),
        };
        var work = new HostWork
        {
            Rows = _rows,
            Keys = _keys,
            Heads = _heads,
            KvHeads = _kvHeads,
            HeadDim = _headDim,
            Type = 3,
            Probed = s_probed.Length,
            Pairs = s_first.Length,
            Scale = Scale,
            Q = Pin(_q),
            K = Pin(Narrow(_k)),
            V = Pin(Narrow(_v)),
            Plan = (nint)(&plan),
            ProbedRows = Pin(s_probed),
            First = Pin(s_first),
            Second = Pin(s_second),
            Output = Pin(results["output"]),
            LogSumExp = Pin(results["log_sum_exp"]),
            Probe = Pin(results["probe"]),
            PreProbe = Pin(results["pre_probe"]),
            Sums = Pin(results["sums"]),
            Squares = Pin(results["squares"]),
            Decode = Pin(results["decode"]),
            Weights = Pin(results["weights"]),
            Fused = Pin(results["fused"]),
        };
        nint library = NativeLibrary.Load(NativeLibraryFiles.CompileShared("kernel_host"));
        try
        {
            var run = (delegate* unmanaged[Cdecl]<Api*, HostDriver*, HostWork*, int>)NativeLibrary.GetExport(library, "host_run");
            int status = run(Host.Api, &driver, &work);
            Assert.That((Status)status, Is.EqualTo(Status.Ok), Marshal.PtrToStringUTF8((nint)work.Message));
        }
        finally
        {
            NativeLibrary.Free(library);
        }

        return new KernelResults(results);
    }

    public void Dispose()
    {
        foreach (GCHandle pin in _pins)
            pin.Free();
    }

    // As a C host has it: arrays, and nothing else.
    private PlanInfo Flatten() => new()
    {
        StructSize = (uint)sizeof(PlanInfo),
        HeadMaskWords = (uint)_plan.HeadMaskWords,
        Segments = (QuerySegment*)Pin(_plan.Segments.ToArray()),
        SegmentCount = (nuint)_plan.Segments.Length,
        Ranges = (KeyRange*)Pin(_plan.Ranges.ToArray()),
        RangeCount = (nuint)_plan.Ranges.Length,
        KeyMask = (uint*)Pin(_plan.KeyMask.ToArray()),
        KeyMaskWords = (nuint)_plan.KeyMask.Length,
        KeyBias = (float*)Pin(_plan.KeyBias.ToArray()),
        KeyBiasCount = (nuint)_plan.KeyBias.Length,
        HeadMasks = (uint*)Pin(_plan.HeadMasks.ToArray()),
        HeadMaskCount = _plan.HeadMaskWords == 0 ? 0 : (nuint)(_plan.HeadMasks.Length / _plan.HeadMaskWords),
    };

    private nint Pin<T>(T[] values)
        where T : unmanaged
    {
        GCHandle pin = GCHandle.Alloc(values, GCHandleType.Pinned);
        _pins.Add(pin);
        return pin.AddrOfPinnedObject();
    }

    // Exact in bfloat16, so that the host's bits and what the engine rounds are the same.
    private static float[] Values(Random random, int count) =>
        [.. Enumerable.Range(0, count).Select(_ => BitConverter.UInt32BitsToSingle(BitConverter.SingleToUInt32Bits((float)(random.NextDouble() * 4 - 2)) & 0xFFFF0000))];

    private static ushort[] Narrow(float[] values) => [.. values.Select(value => (ushort)(BitConverter.SingleToUInt32Bits(value) >> 16))];

    // driver and work of kernel_host.c.
    [StructLayout(LayoutKind.Sequential)]
    private struct HostDriver
    {
        public nint Allocate, Free, Upload, Download, CreateStream, DestroyStream, Synchronize, Retain, Release, Push, Pop;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct HostWork
    {
        public int Rows, Keys, Heads, KvHeads, HeadDim, Type, Probed, Pairs;
        public float Scale;
        public nint Q, K, V, Plan, ProbedRows, First, Second, Output, LogSumExp, Probe, PreProbe, Sums, Squares, Decode, Weights, Fused;
        public fixed byte Message[1024];
    }
}
