using ParVts.Engine.Imaging;
using ParVts.Engine.Scheduling;
using ParVts.Runner.Explaining;

namespace ParVts.Runner.Tests;

/// <summary>Schedules as a 32-layer model with 576 visual tokens a picture makes them, and a picture drawn here.</summary>
internal static class ExplainSample
{
    public const int Layers = 32;
    public const int Side = 24;
    public const int Tokens = Side * Side;
    public const int Kept = 128;
    public const int Migrate = 3;
    public const int Dominant = 54;
    public const int Contextual = 10;

    private const int Prefix = 35;
    private const int Text = 30;

    /// <summary>Sea, sun and a sail: 336 × 336.</summary>
    public static RgbImage Picture { get; } = DrawPicture();

    /// <summary>ParVTS, k = 128, two paths for three layers, a fusion weight for each question row.</summary>
    public static ExplainData ParVts()
    {
        float[] scores = Scores(Tokens);
        int[] subject = Top(scores, Kept);
        int n = Prefix + Kept + Text;
        int b = Tokens - Kept + Text;
        long pathPairs = Triangle(n) + Prefix * (long)b + Triangle(b);
        ExplainCounts two = Counts(n + b, pathPairs, n);
        ExplainCounts one = Counts(n, Triangle(n), n);
        return Base("parvts:keep=128,migrate=3,fuse=lse", 1) with
        {
            Layers = [.. Enumerable.Range(0, Layers).Select(layer => Beside(layer < Migrate ? two : one, 1))],
            Events =
            [
                new ScheduleEvent
                {
                    Layer = 0, Kind = ScheduleEventKind.Split, Kept = [.. Enumerable.Range(0, Tokens)], Subject = subject,
                    Score = "attention of the class token, vision block 22, mean over heads", Margin = 1.7e-5,
                    Ranked = [.. Enumerable.Range(0, Tokens)], Scores = scores,
                },
                new ScheduleEvent
                {
                    Layer = Migrate, Kind = ScheduleEventKind.Fuse, Kept = subject,
                    Weights = [.. Enumerable.Range(0, Text).Select(row => 0.62f + 0.24f * MathF.Sin(row * 0.7f))],
                },
            ],
        };
    }

    /// <summary>A policy that selects twice and lets all go, over two pictures; the answer differs.</summary>
    public static ExplainData Pyramid()
    {
        float[] scores = Scores(2 * Tokens);
        int[] first = Top(scores, 576);
        int[] second = Top(scores, 144);
        int[] visual = [1152, 576, 144, 0];
        return Base("pyramiddrop:layers=8/16/24", 2) with
        {
            Answer = "Two boats.",
            Layers = [.. Enumerable.Range(0, Layers).Select(layer =>
            {
                int n = Prefix + Text + visual[layer / 8];
                return Beside(Counts(n, Triangle(n), n), 2);
            })],
            Events =
            [
                Select(8, first, [.. Enumerable.Range(0, 2 * Tokens)], scores),
                Select(16, second, first, [.. first.Select(token => scores[token])]),
                new ScheduleEvent { Layer = 24, Kind = ScheduleEventKind.Leave, Kept = [], Note = "no token passed the exit threshold" },
            ],
        };
    }

    /// <summary>VisionZip's way: a class token's row, patches and merged rows enter the decoder; what was ranked is no visual token.</summary>
    public static ExplainData Merged()
    {
        int[] kept = [-1, .. Top(Scores(Tokens), Dominant), .. Enumerable.Repeat(-2, Contextual)];
        int n = Prefix + kept.Length + Text;
        return Base("visionzip:dominant=55,contextual=10", 1) with
        {
            Layers = [.. Enumerable.Range(0, Layers).Select(_ => Beside(Counts(n, Triangle(n), n), 1))],
            Events =
            [
                Tower(ScheduleEventKind.Measure, "class token's attention, sum over heads"),
                Tower(ScheduleEventKind.Merge, "contextual: cosine to the target joined"),
            ],
        };

        ScheduleEvent Tower(ScheduleEventKind kind, string score) => new()
        {
            Layer = 0,
            Kind = kind,
            Kept = kept,
            Score = score,
            Margin = 4.3e-5,
            Ranked = [Tokens, Tokens + 3],
            Scores = [0.5f, 0.25f],
            Chosen = [Tokens],
        };
    }

    /// <summary>Nothing happens.</summary>
    public static ExplainData Dense()
    {
        ExplainData data = Base("dense", 1);
        return data with
        {
            PrefillMs = data.DensePrefillMs,
            Kl = 0,
            Top = data.DenseTop,
            Events = [],
            Layers = [.. Enumerable.Range(0, Layers).Select(_ => Beside(Beside(Counts(0, 0, 0), 1).Dense, 1))],
        };
    }

    private static ExplainData Base(string policy, int images) => new()
    {
        Model = "llava-1.5-7b-hf",
        Device = "CPU, 16 threads",
        Policy = policy,
        Question = "What is on the water, and what time of day is it?",
        Answer = "A small sailing boat; it is evening, as the sun is low above the water.",
        DenseAnswer = "A small sailing boat; it is evening, as the sun is low above the water.",
        Kl = 0.00312,
        Top = [new(" A", 0.803), new(" The", 0.121), new(" There", 0.0412), new(" On", 0.0093), new("\n", 0.00007)],
        DenseTop = [new(" A", 0.826), new(" The", 0.109), new(" There", 0.0391), new(" It", 0.0062), new(" On", 0.0058)],
        PrefillMs = 812.4,
        DensePrefillMs = 2406.9,
        Prefix = Prefix,
        Visual = images * Tokens,
        Text = Text,
        Grid = new ExplainGrid(Side, Side),
        KvRowBytes = 2 * 4096 * 4,
        Images = [.. Enumerable.Range(1, images).Select(i => new ExplainImage($"evening-{i}.jpg", ExplainReport.DataUri(Picture)))],
        Layers = [],
        Events = [],
    };

    private static ScheduleEvent Select(int layer, int[] kept, int[] ranked, float[] scores) => new()
    {
        Layer = layer,
        Kind = ScheduleEventKind.Select,
        Kept = kept,
        Ranked = ranked,
        Scores = scores,
        Margin = 4.1e-6,
        Score = "attention of the last row, this layer's queries and keys, mean over heads",
    };

    private static ExplainLayer Beside(ExplainCounts policy, int images)
    {
        int n = Prefix + Text + images * Tokens;
        return new ExplainLayer(policy.Rows, policy.Keys, policy.Pairs, policy.KvRows, policy.Flops, Counts(n, Triangle(n), n));
    }

    private static ExplainCounts Counts(long rows, long pairs, long stored) =>
        new(rows, rows, pairs, stored, 2 * (rows * 4096 * 4096 * 4 + rows * 11008 * 4096 * 3 + 2 * pairs * 4096));

    private static long Triangle(long n) => n * (n + 1) / 2;

    private static int[] Top(float[] scores, int keep) =>
        [.. Enumerable.Range(0, scores.Length).OrderByDescending(i => scores[i]).ThenBy(i => i).Take(keep).Order()];

    /// <summary>High where the picture has something, with some noise.</summary>
    private static float[] Scores(int tokens)
    {
        var random = new Random(7);
        return [.. Enumerable.Range(0, tokens).Select(i => 1e-3f * (float)Math.Exp(
            2.2 * Near(i, 6, 17, 3) + 2.5 * Near(i, 13, 9, 4) + 1.1 * Near(i, 17, 17, 4) + 0.7 * random.NextDouble()))];
    }

    private static double Near(int token, int row, int column, double size)
    {
        int place = token % Tokens;
        double dy = place / Side - row;
        double dx = place % Side - column;
        return Math.Exp(-(dx * dx + dy * dy) / (2 * size * size));
    }

    private static RgbImage DrawPicture()
    {
        var picture = new RgbImage(14 * Side, 14 * Side);
        for (int y = 0; y < picture.Height; y++)
        {
            for (int x = 0; x < picture.Width; x++)
                Colour(x, y).CopyTo(picture.Pixels.AsSpan((y * picture.Width + x) * 3));
        }

        return picture;
    }

    private static byte[] Colour(int x, int y)
    {
        bool sail = x is > 92 and < 178 && y > 110 && y < 212 && x - 92 < (y - 110) * 0.9;
        bool hull = y is > 214 and < 236 && x > 70 + (y - 214) && x < 200 - (y - 214);
        if (sail)
            return [245, 240, 230];
        if (hull)
            return [110, 52, 40];
        if ((x - 245) * (x - 245) + (y - 90) * (y - 90) < 34 * 34)
            return [255, 222, 120];
        if (y < 200)
            return [(byte)(90 + y * 0.75), (byte)(110 + y * 0.3), (byte)(190 - y * 0.35)];
        bool glint = Math.Abs(x - 245 + 8 * Math.Sin(y * 0.5)) < 6 + (y - 200) * 0.18;
        return glint ? [235, 190, 120] : [(byte)(40 + (y % 9) * 2), (byte)(84 - (y - 200) / 4), (byte)(120 - (y - 200) / 4)];
    }
}
