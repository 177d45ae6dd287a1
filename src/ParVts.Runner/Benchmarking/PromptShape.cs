using System.Globalization;

namespace ParVts.Runner.Benchmarking;

/// <summary>How much text a measured prompt has, and where: before the first picture, and behind the pictures.</summary>
/// <param name="Name">As it was written: <c>35+29</c>, or <c>64</c>.</param>
/// <param name="Before">Tokens before the first picture, at most.</param>
/// <param name="Behind">Tokens behind each picture, or behind all of them together.</param>
/// <param name="IsTotal"><paramref name="Behind"/> is for all pictures together.</param>
internal sealed record PromptShape(string Name, int Before, int Behind, bool IsTotal)
{
    /// <summary>Tokens that a prompt may have: more than any model's context.</summary>
    public const int Most = 1 << 24;

    // What LLaVA-1.5's own template puts before the picture.
    private const int UsualPrefix = 35;

    /// <summary>Reads <c>64</c> (all text; up to 35 tokens before the pictures, the rest spread behind them) or <c>35+29</c> (before, and behind each).</summary>
    /// <exception cref="UsageException">It is neither.</exception>
    public static PromptShape Parse(string text)
    {
        string[] parts = text.Split('+');
        if (parts.Length == 1 && Read(parts[0]) is int total and > 0)
        {
            int before = Math.Min(UsualPrefix, total - 1);
            return new PromptShape(text, before, total - before, IsTotal: true);
        }

        if (parts.Length == 2 && Read(parts[0]) is int prefix && Read(parts[1]) is int question and > 0)
            return new PromptShape(text, prefix, question, IsTotal: false);
        throw new UsageException(
            $"--prompt-tokens: '{text}' is no number of text tokens; write for example 64 (in all), or 35+29 (before the pictures, and behind each)");
    }

    /// <summary>The lengths of the text's pieces: before the first picture, then behind each picture.</summary>
    public int[] Pieces(int images)
    {
        if (images == 0)
            return [Before + Behind];
        int[] pieces = new int[images + 1];
        pieces[0] = Before;
        for (int image = 0; image < images; image++)
        {
            // What does not divide evenly goes to the last ones: there must be text behind the last picture.
            pieces[image + 1] = IsTotal ? (int)((long)Behind * (image + 1) / images - (long)Behind * image / images) : Behind;
        }

        return pieces;
    }

    /// <summary>Rows of the prompt.</summary>
    public long Rows(int images, int tokensPerImage) => Pieces(images).Sum(piece => (long)piece) + (long)images * tokensPerImage;

    /// <summary>Random ids, with the image token in each picture's place.</summary>
    public int[] Ids(int images, int imageToken, int vocabulary, int seed)
    {
        var random = new Random(seed);
        int[] pieces = Pieces(images);
        var ids = new List<int>();
        for (int i = 0; i < pieces.Length; i++)
        {
            if (i > 0)
                ids.Add(imageToken);
            for (int token = 0; token < pieces[i]; token++)
                ids.Add(Next());
        }

        return [.. ids];

        int Next()
        {
            int id = random.Next(vocabulary);
            return id != imageToken || vocabulary == 1 ? id : (id + 1) % vocabulary;
        }
    }

    private static int? Read(string text) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int number) && number <= Most ? number : null;
}
