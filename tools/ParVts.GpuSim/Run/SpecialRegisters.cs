namespace ParVts.GpuSim.Run;

/// <summary>Gives a warp its %tid, %ctaid and the like.</summary>
internal static unsafe class SpecialRegisters
{
    /// <summary>Writes those that differ from block to block, or the others.</summary>
    public static void Fill(Warp warp, bool byBlock)
    {
        Block block = warp.Block;
        foreach ((int place, Special what) in block.Kernel.Specials)
        {
            bool ofBlock = what is Special.CtaidX or Special.CtaidY or Special.CtaidZ or Special.SmId;
            if (ofBlock != byBlock)
                continue;
            Span<uint> lanes = new(warp.Registers + place, 32);
            if (ofBlock)
            {
                lanes.Fill(Value(block, warp.Index, 0, what));
                continue;
            }
            for (int lane = 0; lane < 32; lane++)
                lanes[lane] = Value(block, warp.Index, lane, what);
        }
    }

    private static uint Value(Block block, int warp, int lane, Special what)
    {
        Dim3 tid = block.ThreadPosition((32 * warp) + lane);
        Dim3 size = block.Launch.BlockSize, at = block.Position, grid = block.Launch.Grid;
        return what switch
        {
            Special.TidX => (uint)tid.X,
            Special.TidY => (uint)tid.Y,
            Special.TidZ => (uint)tid.Z,
            Special.NtidX => (uint)size.X,
            Special.NtidY => (uint)size.Y,
            Special.NtidZ => (uint)size.Z,
            Special.CtaidX => (uint)at.X,
            Special.CtaidY => (uint)at.Y,
            Special.CtaidZ => (uint)at.Z,
            Special.NctaidX => (uint)grid.X,
            Special.NctaidY => (uint)grid.Y,
            Special.NctaidZ => (uint)grid.Z,
            Special.LaneId => (uint)lane,
            Special.WarpId => (uint)warp,
            Special.NWarpId => (uint)((size.Count + 31) / 32),
            Special.SmId => block.Number % Launch.Multiprocessors,
            Special.NSmId => Launch.Multiprocessors,
            Special.LaneMaskEq => 1u << lane,
            Special.LaneMaskLt => (1u << lane) - 1,
            Special.LaneMaskLe => (2u << lane) - 1,
            Special.LaneMaskGt => ~((2u << lane) - 1),
            Special.LaneMaskGe => ~((1u << lane) - 1),
            Special.DynamicSharedBytes => (uint)block.Launch.DynamicSharedBytes,
            Special.TotalSharedBytes => (uint)block.SharedBytes,
            _ => 0,
        };
    }
}
