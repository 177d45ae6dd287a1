namespace ParVts.GpuSim.Run;

/// <summary>Gives a warp its %tid, %ctaid and the like.</summary>
internal static unsafe class SpecialRegisters
{
    /// <summary>Writes them for the block that is about to run.</summary>
    public static void Fill(Warp warp)
    {
        Block block = warp.Block;
        foreach ((int place, Special what) in block.Kernel.Specials)
        {
            uint* lanes = (uint*)(warp.Registers + place);
            if (what is Special.TidX or Special.TidY or Special.TidZ)
            {
                FillThreads(block, 32 * warp.Index, what, lanes);
            }
            else if (what >= Special.LaneMaskEq && what <= Special.LaneMaskGe || what == Special.LaneId)
            {
                for (int lane = 0; lane < 32; lane++)
                    lanes[lane] = OfLane(lane, what);
            }
            else
            {
                new Span<uint>(lanes, 32).Fill(OfWarp(block, warp.Index, what));
            }
        }
    }

    private static void FillThreads(Block block, int first, Special what, uint* lanes)
    {
        Dim3 at = block.ThreadPosition(first), size = block.Launch.BlockSize;
        (int x, int y, int z) = (at.X, at.Y, at.Z);
        for (int lane = 0; lane < 32; lane++)
        {
            lanes[lane] = (uint)(what == Special.TidX ? x : what == Special.TidY ? y : z);
            if (++x < size.X)
                continue;
            x = 0;
            if (++y < size.Y)
                continue;
            y = 0;
            z++;
        }
    }

    private static uint OfLane(int lane, Special what) => what switch
    {
        Special.LaneMaskEq => 1u << lane,
        Special.LaneMaskLt => (1u << lane) - 1,
        Special.LaneMaskLe => (2u << lane) - 1,
        Special.LaneMaskGt => ~((2u << lane) - 1),
        Special.LaneMaskGe => ~((1u << lane) - 1),
        _ => (uint)lane,
    };

    private static uint OfWarp(Block block, int warp, Special what)
    {
        Dim3 size = block.Launch.BlockSize, at = block.Position, grid = block.Launch.Grid;
        return what switch
        {
            Special.NtidX => (uint)size.X,
            Special.NtidY => (uint)size.Y,
            Special.NtidZ => (uint)size.Z,
            Special.CtaidX => (uint)at.X,
            Special.CtaidY => (uint)at.Y,
            Special.CtaidZ => (uint)at.Z,
            Special.NctaidX => (uint)grid.X,
            Special.NctaidY => (uint)grid.Y,
            Special.NctaidZ => (uint)grid.Z,
            Special.WarpId => (uint)warp,
            Special.NWarpId => (uint)((size.Count + 31) / 32),
            Special.SmId => block.Number % Launch.Multiprocessors,
            Special.NSmId => Launch.Multiprocessors,
            Special.DynamicSharedBytes => (uint)block.Launch.DynamicSharedBytes,
            Special.TotalSharedBytes => (uint)block.SharedBytes,
            _ => 0,
        };
    }
}
