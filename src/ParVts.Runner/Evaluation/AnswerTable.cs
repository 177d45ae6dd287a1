using System.Text;

namespace ParVts.Runner.Evaluation;

/// <summary>What the answers of a table have in common; rows that differ in it belong to different evaluations.</summary>
/// <param name="Model">The model: its folder's name, and what its files are (<see cref="ModelFingerprint"/>).</param>
/// <param name="Data">The file or folder of questions, by name.</param>
/// <param name="Template">--template.</param>
/// <param name="Aspect">--image-aspect.</param>
/// <param name="MaxTokens">--max-tokens.</param>
internal sealed record EvaluationIdentity(string Model, string Data, string Template, string Aspect, int MaxTokens)
{
    /// <summary>What differs in another one, in words.</summary>
    public string Differences(EvaluationIdentity other)
    {
        (string Name, string There, string Here)[] all =
        [
            ("the model", other.Model, Model),
            ("the data", other.Data, Data),
            ("--template", other.Template, Template),
            ("--image-aspect", other.Aspect, Aspect),
            ("--max-tokens", $"{other.MaxTokens}", $"{MaxTokens}"),
        ];
        return string.Join(", ", all.Where(one => one.There != one.Here).Select(one => $"{one.Name} is '{one.There}' there and '{one.Here}' here"));
    }
}

/// <summary>
/// The answers so far by policy and question. With a file, they are those that it holds already, and every new one is in
/// it at once: an evaluation that was stopped goes on where it was. Not for several threads; a file is locked.
/// </summary>
internal sealed class AnswerTable : IDisposable
{
    private readonly EvaluationIdentity _identity;
    private readonly FileStream? _file;
    private readonly Dictionary<(string Policy, EvaluationQuestion Question), EvaluationAnswer> _answers = [];

    private AnswerTable(EvaluationIdentity identity, FileStream? file)
    {
        _identity = identity;
        _file = file;
    }

    /// <summary>Opens a table, or makes an empty one.</summary>
    /// <param name="file">Where it is kept; null for nowhere.</param>
    /// <param name="identity">The evaluation that it must belong to.</param>
    /// <param name="questions">All questions of that evaluation.</param>
    /// <param name="restart">Drop what the file holds.</param>
    /// <exception cref="UsageException">The file is something else, or another evaluation's.</exception>
    public static AnswerTable Open(
        string? file, EvaluationIdentity identity, IReadOnlyList<EvaluationQuestion> questions, bool restart)
    {
        if (file is null)
            return new AnswerTable(identity, null);
        var stream = new FileStream(file, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.Read);
        var table = new AnswerTable(identity, stream);
        try
        {
            table.Load(questions, restart);
            return table;
        }
        catch
        {
            stream.Dispose();
            throw;
        }
    }

    /// <summary>The answer of a policy, by its full name; null where there is none yet.</summary>
    public EvaluationAnswer? Find(string policy, EvaluationQuestion question) => _answers.GetValueOrDefault((policy, question));

    /// <summary>Adds answers to a question. They are handed to the system when this returns.</summary>
    public void Add(EvaluationQuestion question, IReadOnlyList<(string Policy, EvaluationAnswer Answer)> answers)
    {
        var lines = new StringBuilder();
        foreach ((string policy, EvaluationAnswer answer) in answers)
        {
            _answers.Add((policy, question), answer);
            lines.Append(Csv.Line(AnswerColumns.Write(policy, question, answer, _identity)));
        }

        Append(lines.ToString());
    }

    public void Dispose() => _file?.Dispose();

    private void Load(IReadOnlyList<EvaluationQuestion> questions, bool restart)
    {
        byte[] bytes = new byte[restart ? 0 : _file!.Length];
        _file!.ReadExactly(bytes);
        List<string[]> records = Csv.Read(bytes, out int end);
        string header = Csv.Line(AnswerColumns.Names);
        if (records.Count == 0 ? !Encoding.UTF8.GetBytes(header).AsSpan().StartsWith(bytes) : !records[0].SequenceEqual(AnswerColumns.Names))
            throw Refusal("is not a table of this version of 'parvts eval'");

        var known = questions.ToHashSet();
        for (int row = 1; row < records.Count; row++)
        {
            // Tables of several shards, one behind the other, are a table.
            if (!records[row].SequenceEqual(AnswerColumns.Names))
                Load(records[row], row + 1, known);
        }

        // A process that was killed may have left half a line.
        _file.SetLength(end);
        _file.Position = end;
        if (records.Count == 0)
            Append(header);
    }

    private void Load(string[] cells, int row, HashSet<EvaluationQuestion> known)
    {
        if (!AnswerColumns.TryRead(cells, out string policy, out EvaluationQuestion? question, out EvaluationAnswer? answer, out EvaluationIdentity? identity))
            throw Refusal($"is damaged: row {row} is no answer");
        if (identity != _identity)
            throw Refusal($"holds another evaluation's answers: {_identity.Differences(identity)}");
        if (!known.Contains(question))
            throw Refusal($"holds another evaluation's answers: its question '{question.Id}' (row {row}) is not in the data as it is now");
        _answers[(policy, question)] = answer;
    }

    private void Append(string lines)
    {
        if (_file is null)
            return;
        _file.Write(Encoding.UTF8.GetBytes(lines));
        _file.Flush();
    }

    private UsageException Refusal(string reason) =>
        new($"{_file!.Name} {reason}; give another --out, or --restart to start it over");
}
