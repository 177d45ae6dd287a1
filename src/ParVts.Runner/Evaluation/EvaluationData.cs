using ParVts.Engine.Imaging;
using ParVts.Runner.Evaluation.Benchmarks;

namespace ParVts.Runner.Evaluation;

/// <summary>The questions that are asked, their pictures, and how answers are scored.</summary>
/// <param name="Name">The file or folder, by name.</param>
/// <param name="Benchmark">What they are.</param>
/// <param name="Questions">All of them, in the order of the files.</param>
/// <param name="Load">Loads a picture by the name that a question has for it.</param>
/// <param name="PictureFile">The file of a picture, or null where there is none of its own.</param>
internal sealed record EvaluationData(
    string Name, Benchmark Benchmark, IReadOnlyList<EvaluationQuestion> Questions, Func<string, RgbImage> Load, Func<string, string?> PictureFile)
{
    /// <summary>Reads what --data names.</summary>
    /// <param name="path">A file or a folder.</param>
    /// <param name="format">Its format; null to find out.</param>
    /// <param name="images">Where its pictures lie; null for where published copies have them.</param>
    /// <exception cref="InputFileException">It is of no format that is known, malformed, or empty.</exception>
    /// <exception cref="UsageException">There is no such format.</exception>
    public static EvaluationData Open(string path, string? format = null, string? images = null)
    {
        Benchmark? named = format is null ? null : Benchmark.Find(format);
        if (images is not null && !Directory.Exists(images))
            throw new DirectoryNotFoundException($"--images {images}: there is no such folder");
        var source = DataSource.Open(path);
        Benchmark benchmark = named ?? Benchmark.All.FirstOrDefault(one => one.Claims(source))
            ?? throw Unknown(source);
        IReadOnlyList<EvaluationQuestion> questions = benchmark.Read(source);
        Require(questions, path);
        string folder = images is not null ? Path.GetFullPath(images) : PictureFolder(benchmark, source.Folder, questions[0]);
        return new EvaluationData(
            Path.GetFileName(Path.TrimEndingDirectorySeparator(source.Path)), benchmark, questions,
            benchmark.Pictures(source, folder), name => benchmark.PictureFile(folder, name));
    }

    /// <summary>Refuses an evaluation that would stop half way since a picture is not there.</summary>
    /// <exception cref="InputFileException">A question's picture is missing.</exception>
    public void RequirePictures(IEnumerable<EvaluationQuestion> questions)
    {
        foreach (EvaluationQuestion question in questions.DistinctBy(question => question.Image))
        {
            if (PictureFile(question.Image) is string file && !File.Exists(file))
                throw new InputFileException(Name, $"question '{question.Id}'", $"its picture {file} is not there; --images says where the pictures are");
        }
    }

    private static InputFileException Unknown(DataSource source)
    {
        string message = $"no questions of {string.Join(", ", Benchmark.All.Select(one => one.Name))}, or what belongs to them is not beside them; --format says which they should be";
        return source.IsFolder ? new InputFileException(source.Path, message) : new InputFileException(source.Path, 1, message);
    }

    // An answer is found by its question.
    private static void Require(IReadOnlyList<EvaluationQuestion> questions, string path)
    {
        if (questions.Count == 0)
            throw new InputFileException(path, "there are no questions in it");
        var seen = new HashSet<EvaluationQuestion>();
        foreach (EvaluationQuestion question in questions)
        {
            if (!seen.Add(question))
                throw new InputFileException(path, $"question '{question.Id}'", "is in it twice");
            if (question.Image.Contains('\0', StringComparison.Ordinal))
                throw new InputFileException(path, $"question '{question.Id}'", "the name of its picture is no name of a file");
        }
    }

    private static string PictureFolder(Benchmark benchmark, string folder, EvaluationQuestion first) =>
        benchmark.ImageFolders.Select(below => Path.GetFullPath(Path.Combine(folder, below)))
            .Prepend(folder)
            .FirstOrDefault(one => benchmark.PictureFile(one, first.Image) is string file && File.Exists(file)) ?? folder;
}
