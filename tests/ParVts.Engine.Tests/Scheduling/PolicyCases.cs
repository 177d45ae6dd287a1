using ParVts.Engine.Scheduling;

namespace ParVts.Engine.Tests.Scheduling;

/// <summary>How a run is done again over a longer text.</summary>
internal enum Replay
{
    /// <summary>By the policy itself: later text has no say in its choices.</summary>
    Itself,

    /// <summary>By what its trace says: <see cref="FrozenPolicy"/>.</summary>
    Trace,

    /// <summary>By what its trace says, with shallow layers masked for the prompt alone: <see cref="FrozenVisiPruner"/>.</summary>
    Masked,
}

/// <summary>
/// A policy string of the invariants' tests. In strings K is a layer in the model's middle, k a third of a picture's tokens, N all
/// tokens, ALL their numbers, H a file of heads, ROUTERS and SCORER files of random weights.
/// </summary>
/// <param name="Policy">With settings under which something happens.</param>
/// <param name="KeepAll">With settings that keep everything; null where there are none, as <paramref name="Why"/> says.</param>
/// <param name="Why">Why there are none.</param>
internal sealed record PolicyCase(string Policy, string? KeepAll, string? Why = null)
{
    /// <summary>How it is replayed.</summary>
    public Replay Replay { get; init; }

    /// <summary>Rows leave at some layer, or before the decoder.</summary>
    public bool Drops { get; init; } = true;

    /// <summary>
    /// It masks what is seen of a picture, and in a later turn the pictures of earlier ones count as text: that turn is not a replay.
    /// </summary>
    public bool ForgetsPictures { get; init; }

    /// <summary>Some visual rows become sums of others.</summary>
    public bool Merges { get; init; }

    /// <summary>Patches in a row of the picture, where it takes many; 0 for any number.</summary>
    public int Grid { get; init; }

    /// <summary>Every policy, and a few stacks.</summary>
    public static PolicyCase[] All { get; } =
    [
        new("dense", "dense") { Drops = false },
        new("parvts:keep=k,migrate=K,fuse=mean", "parvts:keep=N,migrate=K") { Replay = Replay.Trace },
        new("parvts:keep=k,migrate=K,fuse=mass", "parvts:keep=N,migrate=K,fuse=mass") { Replay = Replay.Trace },
        new("parvts:keep=k,migrate=K,fuse=lse", "parvts:keep=N,migrate=K,fuse=lse") { Replay = Replay.Trace },
        new("cls-prune:keep=k", "cls-prune:keep=N"),
        new("fastv:layer=K,keep=k", "fastv:layer=K,keep=N") { Replay = Replay.Trace },
        new("vtw:layer=K", null, "all visual rows leave"),
        new("random:keep=k,seed=7", "random:keep=N"),
        new("grid:keep=k", "grid:keep=N"),
        new("visipruner:shallow=0,tcos=1,tnorm=0.02,texit=0.9", "visipruner:shallow=0,tcos=0") { Replay = Replay.Masked },
        new("visipruner:shallow=1,tcos=1,tnorm=0.02,texit=0.9", "visipruner:shallow=0,tcos=0,tnorm=0") { Replay = Replay.Masked, Drops = false },
        new("visipruner:shallow=K,mask_visual=all,drop_shallow_kv=true", null, "it masks") { Replay = Replay.Masked, Drops = false },
        new("shortv:layers=0/K", "shortv:layers=") { Drops = false },
        new("zspaprune:keep=k", "zspaprune:keep=N") { Replay = Replay.Trace },
        new("visiondrop:dominant=k/3,contextual=2/1,layers=K", null, "the class token comes along") { Merges = true },
        new("folder:keep=9", "folder:keep=N") { Merges = true, Grid = 7 },
        new("st3:start=1,stride=1,keep=0.7,floor=2,every=100", "st3:start=1,stride=1,keep=1,anneal=1,every=1") { Replay = Replay.Trace },
        new("yopo:window=3,cut=K,mlp=2", null, "visual rows never see as they do in dense"),
        new("yopo:window=3,cut=K,mlp=3,heads=H", null, "heads are off") { ForgetsPictures = true },
        new("yopo:window=3,cut=K,mlp=1,heads=H,tail=mask", null, "heads are off") { Drops = false, ForgetsPictures = true },
        new("pyramiddrop:layers=0/K,keep=0.8/0.4", "pyramiddrop:layers=0/K,keep=N/N") { Replay = Replay.Trace },
        new("sparsevlm:layers=0/K,keep=8/4", null, "at least one token leaves at each cut") { Replay = Replay.Trace },
        new("sparsevlm:layers=0/K,keep=8/4,score=gravity,heads=1", null, "at least one token leaves at each cut") { Replay = Replay.Trace },
        new("visionzip:dominant=k,contextual=2", null, "the class token comes along") { Merges = true },
        new("divprune:keep=k", "divprune:keep=N"),
        new("dart:layer=K,keep=6,visual_pivots=2,text_pivots=1", "dart:layer=K,keep=N,visual_pivots=1,text_pivots=0") { Replay = Replay.Trace },
        new("tome:merge=1", "tome:merge=0") { Merges = true },
        new("prumerge:plus=false,neighbours=3", null, "the others become one token") { Merges = true },
        new("prumerge:plus=true,neighbours=3", null, "the others become one token") { Merges = true, Drops = false },
        new("vica:layers=0/K", null, "no layer computes visual rows") { Drops = false },
        new("dyvte:routers=ROUTERS,threshold=0", "dyvte:routers=ROUTERS,threshold=1") { Replay = Replay.Trace },
        new("covipal:scorer=SCORER,keep=k", "covipal:scorer=SCORER,keep=N") { Replay = Replay.Trace },
        new("knockout:from=0,to=K", null, "it forbids") { Drops = false, ForgetsPictures = true },
        new("knockout:from=0,to=K,direction=both,mask=after", null, "it forbids") { Drops = false, ForgetsPictures = true },
        new("keep:tokens=0/2-4/8", "keep:tokens=ALL"),
        new("keep:layer=K,tokens=8/1", "keep:layer=K,tokens=ALL"),
        new("keep:layer=K,tokens=", null, "all visual rows leave"),
        new("cls-prune:keep=k+vtw:layer=K", "cls-prune:keep=N+fastv:layer=K,keep=N"),
        new("grid:keep=0.9+fastv:layer=K,keep=k", "grid:keep=N+st3:start=1,keep=1") { Replay = Replay.Trace },
        new("st3:start=1,stride=1,keep=0.6,floor=2,every=100+shortv:layers=0/K", "st3:keep=1+shortv:layers=") { Replay = Replay.Trace },
        new("tome:merge=1+divprune:keep=3", "tome:merge=0+divprune:keep=N") { Merges = true },
    ];

    /// <summary>What the test is called by.</summary>
    public override string ToString() => Policy;

    /// <summary>A model of the shape that it takes.</summary>
    public TinyModel Model(int seed, int? layers = null) => new(seed, layers: layers, grid: Grid == 0 ? null : Grid);

    /// <summary>The string for a model.</summary>
    public string For(TinyModel model) => Fill(Policy, model);

    /// <summary>A policy's string with nothing but the files that it cannot do without.</summary>
    public static string Bare(string name, TinyModel model) => Fill(
        name switch
        {
            "dyvte" => "dyvte:routers=ROUTERS",
            "covipal" => "covipal:scorer=SCORER",
            "keep" => "keep:tokens=0",
            _ => name,
        },
        model);

    /// <summary>A string with the model's numbers.</summary>
    public static string Fill(string policy, TinyModel model, int images = 1)
    {
        int middle = Math.Max(1, model.Layers / 2);
        return policy
            .Replace("=k", $"={model.Visual / 3}", StringComparison.Ordinal)
            .Replace("=N/N", $"={images * model.Visual}/{images * model.Visual}", StringComparison.Ordinal)
            .Replace("=N", $"={images * model.Visual}", StringComparison.Ordinal)
            .Replace("=ALL", $"=0-{images * model.Visual - 1}", StringComparison.Ordinal)
            .Replace("=H", $"={HeadFile(model)}", StringComparison.Ordinal)
            .Replace("=ROUTERS", $"={RouterFile(model)}", StringComparison.Ordinal)
            .Replace("=SCORER", $"={ScorerFile(model)}", StringComparison.Ordinal)
            .Replace("=0/K", $"=0/{middle}", StringComparison.Ordinal)
            .Replace("=K", $"={middle}", StringComparison.Ordinal);
    }

    // Every other head is off; in the first layer all of them.
    private static string HeadFile(TinyModel model)
    {
        int heads = model.Engine.Config.Text.Heads;
        string file = Path.Combine(model.Folder, "heads.json");
        File.WriteAllText(file, "[" + string.Join(',', Enumerable.Range(0, model.Layers).Select(
            layer => "[" + string.Join(',', Enumerable.Range(0, heads).Select(head => layer > 0 && (head + layer) % 2 == 0 ? 1 : 0)) + "]")) + "]");
        return file;
    }

    private static string RouterFile(TinyModel model)
    {
        string file = Path.Combine(model.Folder, "routers.st");
        DyVteTests.Write(file, model.Layers, model.Engine.Config.Text.HiddenSize, Engine.Formats.TensorType.BF16, seed: 1);
        return file;
    }

    private static string ScorerFile(TinyModel model)
    {
        string file = Path.Combine(model.Folder, "scorer.st");
        CoViPalTests.Write(file, 2 * model.Engine.Config.Text.HiddenSize, Engine.Formats.TensorType.BF16, biases: true, seed: 1);
        return file;
    }
}
