using ParVts.Engine.Formats;
using ParVts.Engine.Generation;
using ParVts.Engine.Scheduling;
using ParVts.Engine.Tests.Formats;

namespace ParVts.Engine.Tests.Scheduling;

/// <summary>CoViPAL's seam with random scorers against their equation in float64, and files that do not fit.</summary>
public class CoViPalTests
{
    private const int Inner = 21;

    [Test]
    public void Tokens_are_ranked_as_the_equation_says(
        [Range(1, 3)] int seed, [Values] bool readsText, [Values] bool biases, [Values(TensorType.F32, TensorType.BF16)] TensorType type)
    {
        using var model = new TinyModel(seed);
        using var plain = new PlainDecoder(model);
        using var folder = new TempFolder();
        int hidden = model.Engine.Config.Text.HiddenSize;
        Dictionary<string, double[]> tensors = Write(folder.File("s.safetensors"), hidden * (readsText ? 2 : 1), type, biases, seed);
        int images = 1 + seed % 2;
        int keep = images * model.Visual / 3;
        Watched watched = Watched.Of(model, model.Prompt(images), $"covipal:scorer={folder.File("s.safetensors")},keep={keep}", 1);

        double[][] text = [.. watched.Embedded.Where((_, row) => watched.Role(row) == RowRole.Text)];
        double[][] visual = [.. watched.Embedded.Where((_, row) => watched.Role(row) == RowRole.Visual)];
        double[] mean = [.. Enumerable.Range(0, hidden).Select(i => text.Average(row => row[i]))];
        double[] scores = [.. visual.Select(row => Score(tensors, readsText ? [.. row, .. mean] : row))];
        ScheduleEvent chosen = watched.Run.Result.Trace.Events.Single();
        ViCaTests.Near(scores, [.. chosen.Scores], "scores");
        int[] kept = [.. Enumerable.Range(0, scores.Length).OrderByDescending(place => scores[place]).Take(keep).Order()];
        Assert.That(chosen.Kept, Is.EqualTo(kept));

        // Those that stay keep their positions.
        int[] visualRows = [.. Enumerable.Range(0, watched.Roles.Length).Where(row => watched.Role(row) == RowRole.Visual)];
        bool[] stays = [.. watched.Roles.Select(role => role != RowRole.Visual)];
        foreach (int place in kept)
            stays[visualRows[place]] = true;
        double[] logits = plain.Run(watched.Rows(plain, 0), (_, row) => stays[row], (_, _, key) => stays[key]);
        ViCaTests.Near(logits, watched.Run.Logits[0], "the last row");
        Assert.That(watched.Run.Result.Trace.KvRowsByLayer, Is.All.EqualTo(stays.Count(stay => stay)));
        Assert.That(watched.Run.Result.Trace.FlopsCountedByLayer, Is.EqualTo(watched.Run.Result.Trace.FlopsByLayer));
    }

    [Test]
    public void Keeping_all_is_dense_and_decoding_equals_a_replay([Range(1, 3)] int seed)
    {
        using var model = new TinyModel(seed);
        using var folder = new TempFolder();
        Write(folder.File("s.safetensors"), model.Engine.Config.Text.HiddenSize, TensorType.F32, biases: true, seed);
        string policy = $"covipal:scorer={folder.File("s.safetensors")},keep=";
        Prompt prompt = model.Prompt();
        Assert.That(model.Run(prompt, $"{policy}{model.Visual}", 3).Logits, Is.EqualTo(model.Run(prompt, "dense", 3).Logits));

        Run run = model.Run(prompt, $"{policy}0.25", 3);
        int[] tokens = [.. run.Result.Tokens.TakeWhile(token => token != model.Engine.Config.ImageTokenId)];
        for (int step = 1; step < Math.Min(3, tokens.Length + 1); step++)
        {
            var frozen = new FrozenPolicy(run.Result.Trace.Events, run.Result.Trace.Text);
            float[] replay = model.Run(model.Continue(prompt, tokens.Take(step)), frozen).Logits[0];
            ViCaTests.Near([.. replay.Select(value => (double)value)], run.Logits[step], $"step {step}");
        }
    }

    [Test]
    public void A_plan_knows_the_sizes()
    {
        using var model = new TinyModel(2);
        using var folder = new TempFolder();
        Write(folder.File("s.safetensors"), 2 * model.Engine.Config.Text.HiddenSize, TensorType.F32, biases: false, seed: 2);
        Prompt prompt = model.Prompt();
        using Session session = model.Engine.CreateSession($"covipal:scorer={folder.File("s.safetensors")},keep=3");
        int[] planned = [.. session.PlanTrace(prompt).RowsByLayer];
        Assert.That(model.Run(session, prompt).Result.Trace.RowsByLayer, Is.EqualTo(planned));
    }

    [Test]
    public void Scorers_that_do_not_fit_are_refused()
    {
        using var folder = new TempFolder();
        string file = folder.File("s.safetensors");
        Refused<ModelFormatException>("is not there");
        Write(file, width: 24, TensorType.F32, biases: true, seed: 1);
        Refused<PolicyException>("has a scorer of width 24; the model's rows have 8 elements, which takes 16, or 8 without text");
        Broken("'w1.weight': is not there", Matrix("w2.weight", 1, 3));
        Broken("'w2.weight': is not there", Matrix("w1.weight", 3, 8));
        Broken("has the shape [2, 3]; [1, 3] was expected", Matrix("w1.weight", 3, 8), Matrix("w2.weight", 2, 3));
        Broken("[n, 2·D] or [n, D] was expected", TensorToWrite.Of("w1.weight", new float[8]), Matrix("w2.weight", 1, 8));
        Broken("has the shape [4]; [3] was expected", Matrix("w1.weight", 3, 8), Matrix("w2.weight", 1, 3), TensorToWrite.Of("w1.bias", new float[4]));
        Broken("is of type F64", Matrix("w1.weight", 3, 8), TensorToWrite.Of("w2.weight", new double[3], 1, 3));
        Assert.That(() => PolicyRegistry.Create("covipal:keep=3").Bind(new PolicyModel(4, 48)), Throws.TypeOf<PolicyException>().With.Message.Contain("write covipal:scorer=FILE.safetensors"));

        void Broken(string message, params TensorToWrite[] tensors)
        {
            SafetensorsWriter.Write(file, tensors);
            Refused<ModelFormatException>(message);
        }

        void Refused<TError>(string message)
            where TError : Exception => Assert.That(
                () => PolicyRegistry.Create($"covipal:scorer={file}").Bind(new PolicyModel(4, 48) { HiddenSize = 8 }),
                Throws.TypeOf<TError>().With.Message.Contain(message));

        static TensorToWrite Matrix(string name, int rows, int columns) => TensorToWrite.Of(name, new float[rows * columns], rows, columns);
    }

    private static double Score(Dictionary<string, double[]> tensors, double[] features)
    {
        double[] inner = PlainDecoder.Times(tensors["w1.weight"], features);
        double score = tensors.GetValueOrDefault("w2.bias", [0])[0];
        for (int i = 0; i < inner.Length; i++)
            score += tensors["w2.weight"][i] * PlainDecoder.Gelu(inner[i] + tensors.GetValueOrDefault("w1.bias", new double[Inner])[i]);
        return score;
    }

    internal static Dictionary<string, double[]> Write(string file, int width, TensorType type, bool biases, int seed)
    {
        var random = new Random(seed);
        List<TensorToWrite> tensors = [RandomTensor.Of(random, "w1.weight", type, Inner, width), RandomTensor.Of(random, "w2.weight", type, 1, Inner)];
        if (biases)
            tensors.AddRange([RandomTensor.Of(random, "w1.bias", type, Inner), RandomTensor.Of(random, "w2.bias", type, 1)]);
        SafetensorsWriter.Write(file, tensors);
        using SafetensorsFile read = SafetensorsFile.Open(file);
        return read.Tensors.ToDictionary(tensor => tensor.Key, tensor => tensor.Value.ToDoubles());
    }
}
