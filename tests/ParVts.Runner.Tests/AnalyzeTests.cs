using System.Globalization;
using System.Text.Json;
using System.Xml.Linq;
using ParVts.Runner.Analyzing;
using ParVts.Runner.Output;

namespace ParVts.Runner.Tests;

/// <summary><c>parvts analyze</c>: figures layer by layer, stages, knock-outs.</summary>
public sealed class AnalyzeTests
{
    private static readonly string[] s_figures = ["visual_tokens", "mass_last_row", "mass_text_rows", "largest_deviation", "largest_norm", "mean_norm"];

    [Test]
    public void TableJsonAndPlotSayTheSame()
    {
        string table = Path.Combine(DemoModel.Scratch, "figures.csv");
        string plot = Path.Combine(DemoModel.Scratch, "stages.svg");
        JsonElement json = Parvts.Run([.. Request(), "--visipruner", "tcos=0.9", "--out", table, "--plot", plot, "--json"]).Json;
        JsonElement request = json.GetProperty("requests")[0];
        JsonElement[] layers = [.. request.GetProperty("layers").EnumerateArray()];
        string[] lines = File.ReadAllLines(table);
        XDocument drawn = XDocument.Load(plot);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(layers.Select(layer => layer.GetProperty("layer").GetInt32()), Is.EqualTo(Enumerable.Range(0, 8)));
            Assert.That(layers.Select(layer => layer.GetProperty("visual_tokens").GetInt32()), Is.All.EqualTo(144));
            Assert.That(layers.Select(layer => layer.GetProperty("mass_last_row").GetDouble()), Is.All.InRange(1e-6, 1));
            Assert.That(layers.Select(layer => layer.GetProperty("largest_deviation").GetDouble()), Is.All.InRange(0, 2));
            Assert.That(json.GetProperty("layers").ToString(), Is.EqualTo(request.GetProperty("layers").ToString()), "the mean of one");
            Assert.That(lines[0], Is.EqualTo("request,policy,layer," + string.Join(',', s_figures)));
            Assert.That(lines, Has.Length.EqualTo(9));
            foreach ((string line, JsonElement layer) in lines[1..].Zip(layers))
            {
                string[] cells = line.Split(',');
                Assert.That(cells[..3], Is.EqualTo(["1", "dense", layer.GetProperty("layer").ToString()]));
                Assert.That(
                    cells[3..].Select(cell => double.Parse(cell, CultureInfo.InvariantCulture)),
                    Is.EqualTo(s_figures.Select(figure => layer.GetProperty(figure).GetDouble())).Within(1e-6).Percent);
            }

            Assert.That(json.GetProperty("visipruner").GetString(), Does.Contain("tcos=0.9"));
            Assert.That(drawn.Descendants().Count(element => element.Name.LocalName == "polyline"), Is.EqualTo(3), "two masses and a deviation");
            Assert.That(drawn.Root!.Value, Does.Contain("tcos 0.9").And.Contain("texit 0.999"));
        }
    }

    [Test]
    public void FiguresOfVisiPrunerEndWhereItsStagesDo()
    {
        JsonElement json = Parvts.Run([.. Request("--policy", "visipruner:shallow=2"), "--visipruner", "shallow=2", "--json"]).Json;
        JsonElement run = Parvts.Run([.. Request("--policy", "visipruner:shallow=2", command: "run"), "--max-tokens", "1", "--json"]).Json;
        JsonElement request = json.GetProperty("requests")[0];
        JsonElement[] layers = [.. request.GetProperty("layers").EnumerateArray()];
        JsonElement[] moved =
        [
            .. run.GetProperty("trace").GetProperty("events").EnumerateArray().Where(e => e.GetProperty("kind").GetString() is "select" or "leave"),
        ];
        int? filter = moved.Length > 0 ? moved[0].GetProperty("layer").GetInt32() - 1 : null;
        int? exit = moved.Where(e => e.GetProperty("kind").GetString() == "leave").Select(e => (int?)e.GetProperty("layer").GetInt32()).FirstOrDefault();
        using (Assert.EnterMultipleScope())
        {
            Assert.That(layers[0].GetProperty("largest_deviation").ValueKind, Is.EqualTo(JsonValueKind.Null), "values are masked there");
            Assert.That(layers[0].GetProperty("mass_last_row").GetDouble(), Is.Positive);
            Assert.That(layers[3].GetProperty("largest_deviation").GetDouble(), Is.Positive);
            Assert.That(Number(request, "filter_layer"), Is.EqualTo(filter));
            Assert.That(Number(request, "exit_layer"), Is.EqualTo(exit));
        }
    }

    [Test]
    public void KnockOutsChangeWhatTheyShould()
    {
        string data = EvalRun.WriteQuestions("analyzed.jsonl", _ => { });
        DemoQuestion[] questions = EvalRun.Questions()[..5];
        JsonElement json = Parvts.Run(
            "analyze", "--model", DemoModel.Model, "--data", data, "--limit", "5", "--json",
            "--knock-out", "text-visual:0-7", "--knock-out", "visual-visual:7", "--knock-out", "both:2-3:after").Json;
        JsonElement left = Parvts.Run(
            "run", "--model", DemoModel.Model, "--image", questions[4].Image, "--prompt", questions[4].Text, "--policy", "vtw:layer=0", "--max-tokens", "16", "--json").Json;
        JsonElement[] knocked = [.. json.GetProperty("knock_outs").EnumerateArray()];
        JsonElement[] requests = [.. json.GetProperty("requests").EnumerateArray()];
        using (Assert.EnterMultipleScope())
        {
            Assert.That(requests.Select(request => request.GetProperty("text").GetString()), Is.EqualTo(questions.Select(question => question.Reference)));
            Assert.That(knocked[0].GetProperty("accuracy_without").GetDouble(), Is.EqualTo(questions.Average(q => q.Reference == q.Answer ? 1.0 : 0)).Within(1e-12));
            Assert.That(knocked[0].GetProperty("mean_kl").GetDouble(), Is.GreaterThan(0.01));
            Assert.That(requests[4].GetProperty("knock_outs")[0].GetProperty("text").GetString(), Is.EqualTo(left.GetProperty("text").GetString()));
            Assert.That(knocked[1].GetProperty("mean_kl").GetDouble(), Is.LessThan(1e-6), "nobody reads what they become in the last layer");
            Assert.That(knocked[1].GetProperty("same_answer").GetDouble(), Is.EqualTo(1));
            Assert.That(knocked[1].GetProperty("accuracy").GetDouble(), Is.EqualTo(knocked[0].GetProperty("accuracy_without").GetDouble()));
            Assert.That(knocked[2].GetProperty("policy").GetString(), Is.EqualTo("knockout:from=2,to=3,direction=both,mask=after"));
            foreach ((JsonElement knockOut, int i) in knocked.Select((knockOut, i) => (knockOut, i)))
            {
                double[] divergences = [.. requests.Select(request => request.GetProperty("knock_outs")[i].GetProperty("kl").GetDouble())];
                Assert.That(knockOut.GetProperty("mean_kl").GetDouble(), Is.EqualTo(divergences.Average()).Within(1e-12));
            }
        }
    }

    [Test]
    public void PrintsTablesForPeople()
    {
        Outcome outcome = Parvts.Run([.. Request(), "--knock-out", "text-visual:4-7"]);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(outcome.Code, Is.Zero, outcome.Errors);
            Assert.That(outcome.Output, Does.Contain("mass, last row").And.Contain("largest deviation").And.Contain("text-visual:4-7"));
        }
    }

    [TestCase("text-visual:8-15", "knockout:from=8,to=15,direction=text-visual,mask=before")]
    [TestCase("visual-visual:3", "knockout:from=3,to=3,direction=visual-visual,mask=before")]
    [TestCase("both:0-7:after", "knockout:from=0,to=7,direction=both,mask=after")]
    public void KnockOutsAreRead(string text, string policy)
    {
        Assert.That(KnockOut.Parse(text).Policy, Is.EqualTo(policy));
        Assert.That(KnockOut.Parse(text).With("vtw:layer=4"), Is.EqualTo("vtw:layer=4+" + policy));
    }

    [TestCase("text-visual")]
    [TestCase("visual-text:3")]
    [TestCase("both:3-")]
    [TestCase("both:-3")]
    [TestCase("both:1-2:before")]
    [TestCase("both:99999999999")]
    public void OtherKnockOutsAreRefused(string text) => Assert.That(() => KnockOut.Parse(text), Throws.TypeOf<UsageException>().With.Message.Contains("text-visual:8-15"));

    [TestCase(47.2, new[] { 0.0, 10, 20, 30, 40, 50 })]
    [TestCase(0.31, new[] { 0, 0.1, 0.2, 0.3, 0.4 })]
    [TestCase(2.0, new[] { 0, 0.5, 1, 1.5, 2 })]
    [TestCase(0.0, new[] { 0, 0.2, 0.4, 0.6, 0.8, 1 })]
    public void AxesEndAtRoundNumbers(double largest, double[] ticks)
    {
        var axis = SvgAxis.FromZero(largest);
        Assert.That(axis.Ticks(), Is.EqualTo(ticks).Within(1e-9));
        Assert.That(axis.Share(ticks[^1]), Is.EqualTo(1).Within(1e-9));
        Assert.That(axis.Share(-1), Is.Zero);
    }

    [Test]
    public void LogarithmicAxesEndAtPowersOfTen()
    {
        var axis = SvgAxis.Logarithmic([0, 0.003, 0.2]);
        Assert.That(axis.Ticks(), Is.EqualTo([0.001, 0.01, 0.1, 1]).Within(1e-9));
        Assert.That(axis.Share(0.01), Is.EqualTo(1.0 / 3).Within(1e-9));
    }

    private static string[] Request(string option = "--max-tokens", string value = "4", string command = "analyze")
    {
        DemoQuestion question = DemoModel.Question("count");
        return [command, "--model", DemoModel.Model, "--image", question.Image, "--prompt", question.Text, option, value];
    }

    private static int? Number(JsonElement element, string name) =>
        element.GetProperty(name) is { ValueKind: JsonValueKind.Number } number ? number.GetInt32() : null;
}
