using ParVts.Engine.Scheduling;
using ParVts.Engine.Scheduling.Policies;
using ParVts.Runner.Evaluation;

namespace ParVts.Runner.Analyzing;

/// <summary>What was found about all requests.</summary>
/// <param name="Policy">The policy that was measured.</param>
/// <param name="VisiPruner">VisiPruner as it was asked.</param>
/// <param name="KnockOuts">The knock-outs that were tried.</param>
/// <param name="Requests">The requests; at least one.</param>
internal sealed record Analysis(
    string Policy, VisiPrunerPolicy VisiPruner, IReadOnlyList<KnockOut> KnockOuts, IReadOnlyList<RequestAnalysis> Requests)
{
    /// <summary>The layers that were measured, ascending.</summary>
    public IEnumerable<int> Layers => Requests.SelectMany(request => request.Layers).Select(figures => figures.Layer).Distinct().Order();

    /// <summary>A figure of a layer, of every request that has it.</summary>
    public double[] Values(int layer, Func<LayerFigures, double?> figure) =>
        [.. Requests.SelectMany(request => request.Layers).Where(figures => figures.Layer == layer).Select(figure).OfType<double>()];

    /// <summary>Its mean; null where no request has it.</summary>
    public double? Mean(int layer, Func<LayerFigures, double?> figure) => Values(layer, figure) is { Length: > 0 } values ? values.Average() : null;

    /// <summary>Right answers among those that are known, 0 to 1; null where none is.</summary>
    /// <param name="answer">The answer to look at.</param>
    public double? Accuracy(Func<RequestAnalysis, string> answer)
    {
        RequestAnalysis[] known = [.. Requests.Where(request => request.Request.Expected is not null)];
        return known.Length == 0 ? null : known.Average(request => AnswerMatch.Equal(answer(request), request.Request.Expected!) ? 1.0 : 0.0);
    }
}
