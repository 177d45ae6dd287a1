namespace ParVts.Runner.Evaluation.Benchmarks;

/// <summary>A line of the question files that the LLaVA-1.5 evaluation asks from: a whole prompt, without the right answer.</summary>
/// <param name="Entry">Where it stands.</param>
/// <param name="Id">question_id.</param>
/// <param name="Image">The picture.</param>
/// <param name="Prompt">What is asked, its last line included.</param>
/// <param name="Category">The category, or null.</param>
internal sealed record LlavaQuestion(DataEntry Entry, string Id, string Image, string Prompt, string? Category)
{
    /// <summary>The question itself: the prompt's first line.</summary>
    public string Question => Prompt.Split('\n')[0];

    /// <summary>Reads a file.</summary>
    public static IEnumerable<LlavaQuestion> Read(string file) => DataEntry.Lines(file).Select(entry => new LlavaQuestion(
        entry, entry.Text("question_id"), entry.Text("image"), entry.Text("text"), entry.OptionalText("category")));
}
