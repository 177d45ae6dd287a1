namespace ParVts.Runner.Evaluation.Benchmarks;

/// <summary>
/// A set of questions as it is published: how its files are read, how its questions are put, and how its answers are scored.
/// Stateless; any thread.
/// </summary>
internal abstract class Benchmark
{
    /// <summary>What the LLaVA-1.5 runs put behind questions of short answers.</summary>
    protected const string ShortAnswer = "\nAnswer the question using a single word or phrase.";

    /// <summary>What they put behind questions of several choices.</summary>
    protected const string OptionLetter = "\nAnswer with the option's letter from the given choices directly.";

    /// <summary>Every benchmark; the first that claims a file reads it.</summary>
    public static IReadOnlyList<Benchmark> All { get; } =
        [new PlainBenchmark(), new Pope(), new Gqa(), new TextVqa(), new ScienceQa(), new MmBench(), new Mme()];

    /// <summary>Its name for --format.</summary>
    public abstract string Name { get; }

    /// <summary>New tokens that the published runs allow.</summary>
    public virtual int PublishedTokens => 128;

    /// <summary>Folders in which the pictures of a published copy lie, relative to the data's folder.</summary>
    public virtual IReadOnlyList<string> ImageFolders => [];

    /// <summary>True where the file or folder is one of its own.</summary>
    public abstract bool Claims(DataSource source);

    /// <summary>Reads all questions.</summary>
    /// <exception cref="InputFileException">A file is malformed, or one that belongs to it is missing.</exception>
    public abstract IReadOnlyList<EvaluationQuestion> Read(DataSource source);

    /// <summary>Loads a picture: where <paramref name="folder"/> says, unless the data hold it themselves.</summary>
    public virtual Func<string, Engine.Imaging.RgbImage> Pictures(DataSource source, string folder) =>
        name => Picture.Load(Path.Combine(folder, name)).Image;

    /// <summary>The picture's file, for looking whether it is there; null where the data hold it themselves.</summary>
    public virtual string? PictureFile(string folder, string name) => Path.Combine(folder, name);

    /// <summary>What an answer is worth, 0 to 1.</summary>
    public abstract double Score(EvaluationQuestion question, string answer);

    /// <summary>Figures beside the mean of the scores.</summary>
    public virtual IEnumerable<Figure> Figures(PolicyScore score) => [];

    /// <summary>The benchmark of that name.</summary>
    /// <exception cref="UsageException">There is none.</exception>
    public static Benchmark Find(string name) => All.FirstOrDefault(one => one.Name == name)
        ?? throw new UsageException($"there is no format '{name}'; there are: {string.Join(", ", All.Select(one => one.Name))}");
}

/// <summary>A figure of a benchmark.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Value">Its value.</param>
/// <param name="IsShare">A share, 0 to 1, which people read in per cent.</param>
internal readonly record struct Figure(string Name, double Value, bool IsShare);
