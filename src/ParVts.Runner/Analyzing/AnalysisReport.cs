using System.Globalization;
using System.Text.Json;
using ParVts.Engine.Scheduling;
using ParVts.Runner.Evaluation;
using ParVts.Runner.Output;

namespace ParVts.Runner.Analyzing;

/// <summary>An analysis as CSV, as JSON and as tables.</summary>
internal static class AnalysisReport
{
    private static readonly (string Name, Func<LayerFigures, double?> Value)[] s_figures =
    [
        ("visual_tokens", figures => figures.Visual),
        ("mass_last_row", figures => figures.LastMass),
        ("mass_text_rows", figures => figures.TextMass),
        ("largest_deviation", figures => figures.Deviation),
        ("largest_norm", figures => figures.LargestNorm),
        ("mean_norm", figures => figures.MeanNorm),
    ];

    /// <summary>Writes a line a request and layer; a figure that a layer does not have is an empty cell.</summary>
    public static void WriteCsv(string file, Analysis analysis)
    {
        using var writer = new StreamWriter(file);
        writer.Write(Csv.Line(["request", "policy", "layer", .. s_figures.Select(figure => figure.Name)]));
        foreach (RequestAnalysis request in analysis.Requests)
        {
            foreach (LayerFigures layer in request.Layers)
            {
                writer.Write(Csv.Line(
                    [request.Request.Id, analysis.Policy, Number(layer.Layer, "0"), .. s_figures.Select(figure => Number(figure.Value(layer), "G9"))]));
            }
        }
    }

    /// <summary>The members of <c>analyze --json</c>.</summary>
    public static void WriteJson(Utf8JsonWriter json, Analysis analysis)
    {
        json.WriteString("policy", analysis.Policy);
        json.WriteString("visipruner", analysis.VisiPruner.Name);
        json.WriteStartArray("layers");
        foreach (int layer in analysis.Layers)
            WriteLayer(json, layer, figure => analysis.Mean(layer, figure));
        json.WriteEndArray();
        json.WriteStartArray("requests");
        foreach (RequestAnalysis request in analysis.Requests)
            WriteRequest(json, analysis, request);
        json.WriteEndArray();
        json.WriteStartArray("knock_outs");
        for (int i = 0; i < analysis.KnockOuts.Count; i++)
            WriteKnockOut(json, analysis, i);
        json.WriteEndArray();
    }

    /// <summary>Prints the means of the layers, and what the knock-outs did.</summary>
    public static void WriteTables(Analysis analysis)
    {
        Spectre.Console.Table layers = Terminal.CreateTable(
            "layer", "visual tokens", "mass, last row", "mass, text rows", "largest deviation", "largest norm", "mean norm");
        foreach (int layer in analysis.Layers)
            layers.AddTextRow([Number(layer, "0"), .. s_figures.Select((figure, i) => Number(analysis.Mean(layer, figure.Value), i == 0 ? "0.#" : "0.000000"))]);
        Terminal.Out.Write(layers);
        if (analysis.KnockOuts.Count == 0)
            return;
        Spectre.Console.Table knocked = Terminal.CreateTable("knock-out", "mean KL, nats", "same answer", "accuracy");
        knocked.AddTextRow("none", "0", Sizes.Percent(1), Share(analysis.Accuracy(request => request.Text)));
        for (int i = 0; i < analysis.KnockOuts.Count; i++)
        {
            (double divergence, double same, double? accuracy) = Effect(analysis, i);
            knocked.AddTextRow(analysis.KnockOuts[i].Text, Number(divergence, "0.0000"), Sizes.Percent(same), Share(accuracy));
        }

        Terminal.Out.Write(knocked);
    }

    private static void WriteRequest(Utf8JsonWriter json, Analysis analysis, RequestAnalysis request)
    {
        json.WriteStartObject();
        json.WriteString("id", request.Request.Id);
        json.WriteString("text", request.Text);
        if (request.Request.Expected is not null)
            json.WriteString("expected", request.Request.Expected);
        Write(json, "filter_layer", request.FilterLayer);
        Write(json, "exit_layer", request.ExitLayer);
        json.WriteStartArray("layers");
        foreach (LayerFigures figures in request.Layers)
            WriteLayer(json, figures.Layer, figure => figure(figures));
        json.WriteEndArray();
        json.WriteStartArray("knock_outs");
        foreach ((KnockOut knockOut, KnockedOutAnswer answer) in analysis.KnockOuts.Zip(request.KnockedOut))
        {
            json.WriteStartObject();
            json.WriteString("knock_out", knockOut.Text);
            json.WriteString("text", answer.Text);
            Write(json, "kl", answer.Divergence);
            json.WriteBoolean("same_answer", answer.IsSame);
            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WriteEndObject();
    }

    private static void WriteLayer(Utf8JsonWriter json, int layer, Func<Func<LayerFigures, double?>, double?> value)
    {
        json.WriteStartObject();
        json.WriteNumber("layer", layer);
        foreach ((string name, Func<LayerFigures, double?> figure) in s_figures)
            Write(json, name, value(figure));
        json.WriteEndObject();
    }

    private static void WriteKnockOut(Utf8JsonWriter json, Analysis analysis, int place)
    {
        (double divergence, double same, double? accuracy) = Effect(analysis, place);
        json.WriteStartObject();
        json.WriteString("knock_out", analysis.KnockOuts[place].Text);
        json.WriteString("policy", analysis.KnockOuts[place].Policy);
        Write(json, "mean_kl", divergence);
        json.WriteNumber("same_answer", same);
        Write(json, "accuracy", accuracy);
        Write(json, "accuracy_without", analysis.Accuracy(request => request.Text));
        json.WriteEndObject();
    }

    private static (double Divergence, double Same, double? Accuracy) Effect(Analysis analysis, int place) => (
        analysis.Requests.Average(request => request.KnockedOut[place].Divergence),
        analysis.Requests.Average(request => request.KnockedOut[place].IsSame ? 1.0 : 0.0),
        analysis.Accuracy(request => request.KnockedOut[place].Text));

    // JSON has no word for what is not finite.
    private static void Write(Utf8JsonWriter json, string name, double? value)
    {
        if (value is double number && double.IsFinite(number))
            json.WriteNumber(name, number);
        else
            json.WriteNull(name);
    }

    private static string Share(double? share) => share is double value ? Sizes.Percent(value) : "–";

    private static string Number(double? value, string format) => value?.ToString(format, CultureInfo.InvariantCulture) ?? "";
}
