using System.Runtime.InteropServices;
using ParVts.Engine.Formats;
using ParVts.Engine.Generation;
using ParVts.Engine.Scheduling;
using ParVts.Engine.Tests.Formats;

namespace ParVts.Engine.Tests.Scheduling;

/// <summary>DyVTE with random routers against its equations in float64: logits, the exit, what follows from it; and files that do not fit.</summary>
public class DyVteTests
{
    private const int Inner = 37;

    private const string Names = "model.visual_gates_router.";

    [Test]
    public void Routers_decide_as_their_equations_say([Range(1, 6)] int seed, [Values(TensorType.F32, TensorType.BF16, TensorType.F16)] TensorType type)
    {
        using var model = new TinyModel(seed);
        using var plain = new PlainDecoder(model);
        using var folder = new TempFolder();
        double[][] routers = Write(folder.File("r.safetensors"), model.Layers, model.Engine.Config.Text.HiddenSize, type, seed);
        Watched watched = Watched.Of(model, model.Prompt(images: 1 + seed % 2), $"dyvte:routers={folder.File("r.safetensors")}", 1);

        // Rows whose visual ones leave after the first layer that says so.
        var expected = new List<double[]>();
        int exit = model.Layers;
        double[] logits = plain.Run(
            watched.Rows(plain, 0),
            (layer, row) => layer <= exit || watched.Role(row) != RowRole.Visual,
            (layer, _, key) => layer <= exit || watched.Role(key) != RowRole.Visual,
            (layer, rows) =>
            {
                if (exit < model.Layers || layer == model.Layers - 1)
                    return;
                double[] answer = Ask(routers[2 * layer], routers[2 * layer + 1], Features(watched, rows));
                expected.Add(answer);
                if (answer[0] < answer[1])
                    exit = layer;
            });

        ScheduleTrace trace = watched.Run.Result.Trace;
        ScheduleEvent[] asked = [.. trace.Events.Where(e => e.Kind == ScheduleEventKind.Measure)];
        Assert.That(asked.Select(e => e.Layer), Is.EqualTo(Enumerable.Range(0, expected.Count)));
        for (int layer = 0; layer < expected.Count; layer++)
        {
            ViCaTests.Near(expected[layer], [.. asked[layer].Scores], $"router {layer}");
            Assert.That(asked[layer].Chosen, Is.EqualTo(new[] { layer == exit ? 1 : 0 }), $"router {layer}");
        }

        ViCaTests.Near(logits, watched.Run.Logits[0], "the last row");
        int others = trace.Prefix + trace.Text;
        int[] lengths = [.. Enumerable.Range(0, model.Layers).Select(layer => layer <= exit ? others + trace.Visual : others)];
        Assert.That(trace.KvRowsByLayer, Is.EqualTo(lengths));
        Assert.That(trace.RowsByLayer, Is.EqualTo(lengths));
        Assert.That(trace.FlopsCountedByLayer, Is.EqualTo(trace.FlopsByLayer));
        Assert.That(trace.Events.Any(e => e.Kind == ScheduleEventKind.Leave), Is.EqualTo(exit < model.Layers));
    }

    [TestCase("0", true)]
    [TestCase("0.5", true)]
    [TestCase("0.9999999", false)]
    [TestCase("1", false)]
    public void The_threshold_is_a_probability(string threshold, bool leaves)
    {
        using var model = new TinyModel(3);
        using var folder = new TempFolder();
        Write(folder.File("r.safetensors"), model.Layers, model.Engine.Config.Text.HiddenSize, TensorType.F32, seed: 3);

        // As published the first exit is after this layer.
        Prompt prompt = model.Prompt();
        string policy = $"dyvte:routers={folder.File("r.safetensors")}";
        int exit = model.Run(prompt, policy).Result.Trace.Events.Single(e => e.Kind == ScheduleEventKind.Leave).Layer;
        string same = !leaves ? "dense" : $"vtw:layer={(threshold == "0" ? 1 : exit)}";
        Run run = model.Run(prompt, $"{policy},threshold={threshold}", 3);
        Assert.That(run.Logits, Is.EqualTo(model.Run(prompt, same, 3).Logits), same);
    }

    [Test]
    public void Decoding_equals_replaying_the_frozen_trace([Range(1, 3)] int seed)
    {
        using var model = new TinyModel(seed);
        using var folder = new TempFolder();
        Write(folder.File("r.safetensors"), model.Layers, model.Engine.Config.Text.HiddenSize, TensorType.F32, seed);
        Prompt prompt = model.Prompt();
        Run run = model.Run(prompt, $"dyvte:routers={folder.File("r.safetensors")}", 4);
        int[] tokens = [.. run.Result.Tokens.TakeWhile(token => token != model.Engine.Config.ImageTokenId)];
        for (int step = 1; step < Math.Min(4, tokens.Length + 1); step++)
        {
            var frozen = new FrozenPolicy([.. run.Result.Trace.Events.Where(e => e.Kind == ScheduleEventKind.Leave)], run.Result.Trace.Text);
            float[] replay = model.Run(model.Continue(prompt, tokens.Take(step)), frozen).Logits[0];
            ViCaTests.Near([.. replay.Select(value => (double)value)], run.Logits[step], $"step {step}");
        }
    }

    [Test]
    public void Turns_of_text_ask_nobody_and_one_row_of_text_has_no_mean()
    {
        using var model = new TinyModel(4);
        using var folder = new TempFolder();
        Write(folder.File("r.safetensors"), model.Layers, model.Engine.Config.Text.HiddenSize, TensorType.F32, seed: 4);
        string policy = $"dyvte:routers={folder.File("r.safetensors")},threshold=0";
        Prompt prompt = model.Prompt();
        using Session session = model.Engine.CreateSession(policy);
        Run first = model.Run(session, prompt);
        int[] stored = [.. first.Result.Trace.KvRowsByLayer];
        Run second = model.Run(session, model.Continue(prompt, [5, 6, 7]));
        Assert.That(second.Result.Trace.Events, Is.Empty);
        Assert.That(second.Result.Trace.KvRowsByLayer, Is.EqualTo(stored.Select(rows => rows + 3).ToArray()));

        Prompt one = model.Engine.CreatePrompt([1, 2, model.Engine.Config.ImageTokenId, 3], prompt.Images);
        Assert.That(model.Run(one, policy).Logits, Is.EqualTo(model.Run(one, "dense").Logits));
        Prompt two = model.Engine.CreatePrompt([1, 2, model.Engine.Config.ImageTokenId, 3, 4], prompt.Images);
        Assert.That(model.Run(two, policy).Logits, Is.EqualTo(model.Run(two, "vtw:layer=1").Logits));
    }

    [Test]
    public void A_policy_in_front_may_choose_before_the_decoder()
    {
        using var model = new TinyModel(3);
        using var folder = new TempFolder();
        Write(folder.File("r.safetensors"), model.Layers, model.Engine.Config.Text.HiddenSize, TensorType.F32, seed: 3);
        Prompt prompt = model.Prompt();
        Run run = model.Run(prompt, $"grid:keep=5+dyvte:routers={folder.File("r.safetensors")},threshold=0", 3);
        Assert.That(run.Logits, Is.EqualTo(model.Run(prompt, "grid:keep=5+vtw:layer=1", 3).Logits));
    }

    [Test]
    public void Any_prefix_of_the_names_will_do()
    {
        using var model = new TinyModel(3);
        using var folder = new TempFolder();
        Write(folder.File("r.safetensors"), model.Layers, model.Engine.Config.Text.HiddenSize, TensorType.F32, seed: 3);
        Write(folder.File("s.safetensors"), model.Layers, model.Engine.Config.Text.HiddenSize, TensorType.F32, seed: 3, names: "language_model." + Names);
        Prompt prompt = model.Prompt();
        Assert.That(
            model.Run(prompt, $"dyvte:routers={folder.File("s.safetensors")}").Logits,
            Is.EqualTo(model.Run(prompt, $"dyvte:routers={folder.File("r.safetensors")}").Logits));
    }

    [Test]
    public void Routers_of_another_model_are_refused()
    {
        using var folder = new TempFolder();
        string file = folder.File("r.safetensors");
        Write(file, layers: 4, hidden: 64, TensorType.F32, seed: 1);
        Refused<PolicyException>(file, layers: 4, hidden: 32, "has routers of width 128; the model's rows have 32 elements, which takes 64");
        Refused<PolicyException>(file, layers: 5, hidden: 64, "has routers for 4 layers; the model has 5");
        Refused<PolicyException>(file, layers: 3, hidden: 64, "has routers for 4 layers; the model has 3");
        Assert.That(() => PolicyRegistry.Create("dyvte").Bind(new PolicyModel(4, 48)), Throws.TypeOf<PolicyException>().With.Message.Contain("write dyvte:routers=FILE.safetensors"));
        Assert.That(
            () => PolicyRegistry.Create($"dyvte:routers={file},threshold=1.5"),
            Throws.TypeOf<PolicyException>().With.Message.Contain("threshold is a number from 0 to 1"));
    }

    [Test]
    public void Malformed_files_are_named()
    {
        using var folder = new TempFolder();
        string file = folder.File("r.safetensors");
        Refused<ModelFormatException>(file, layers: 1, hidden: 2, "is not there");
        folder.Write("r.safetensors", "not safetensors");
        Refused<ModelFormatException>(file, layers: 1, hidden: 2, "r.safetensors");
        Broken("is not there; a file of DyVTE's routers was expected", TensorToWrite.Of("lm_head.weight", new float[4], 2, 2));
        Broken("'model.visual_gates_router.0.w2.weight': is not there", Matrix("0.w1", 3, 4));
        Broken("[2, n] behind [n, 2·D] was expected", Matrix("0.w1", 3, 4), Matrix("0.w2", 2, 4));
        Broken("[2, n] behind [n, 2·D] was expected", Matrix("0.w1", 3, 4), Matrix("0.w2", 1, 3));
        Broken("[2, n] behind [n, 2·D] was expected", TensorToWrite.Of(Names + "0.w1.weight", new float[4], 4), Matrix("0.w2", 2, 4));
        Broken("a matrix or a vector was expected", TensorToWrite.Of(Names + "0.w1.weight", new float[12], 3, 2, 2));
        Broken("a matrix or a vector was expected", Matrix("0.w1", 0, 4));
        Broken("is of type I32; F32, BF16 or F16 was expected", TensorToWrite.Of(Names + "0.w1.weight", new int[12], 3, 4));

        void Broken(string message, params TensorToWrite[] tensors)
        {
            SafetensorsWriter.Write(file, tensors);
            Refused<ModelFormatException>(file, layers: 1, hidden: 2, message);
        }

        static TensorToWrite Matrix(string name, int rows, int columns) =>
            TensorToWrite.Of($"{Names}{name}.weight", new float[rows * columns], rows, columns);
    }

    private static void Refused<TError>(string file, int layers, int hidden, string message)
        where TError : Exception => Assert.That(
            () => PolicyRegistry.Create($"dyvte:routers={file}").Bind(new PolicyModel(layers, 48) { HiddenSize = hidden }),
            Throws.TypeOf<TError>().With.Message.Contain(message));

    // The mean of all rows of text but the last, and the last.
    private static double[] Features(Watched watched, double[][] rows)
    {
        double[] mean = new double[rows[0].Length];
        int count = 0;
        for (int row = 0; row < rows.Length - 1; row++)
        {
            if (watched.Role(row) != RowRole.Text)
                continue;
            count++;
            for (int i = 0; i < mean.Length; i++)
                mean[i] += rows[row][i];
        }

        return [.. mean.Select(sum => sum / count), .. rows[^1]];
    }

    private static double[] Ask(double[] inner, double[] outer, double[] features) =>
        PlainDecoder.Times(outer, Array.ConvertAll(PlainDecoder.Times(inner, features), PlainDecoder.Gelu));

    /// <summary>Writes random routers; returns each layer's two matrices as they are stored.</summary>
    internal static double[][] Write(string file, int layers, int hidden, TensorType type, int seed, string names = Names)
    {
        var random = new Random(seed);
        var tensors = new List<TensorToWrite>();
        for (int layer = 0; layer < layers; layer++)
        {
            tensors.Add(RandomTensor.Of(random, $"{names}{layer}.w1.weight", type, Inner, 2 * hidden));
            tensors.Add(RandomTensor.Of(random, $"{names}{layer}.w2.weight", type, 2, Inner));
        }

        SafetensorsWriter.Write(file, tensors);
        using SafetensorsFile read = SafetensorsFile.Open(file);
        return [.. tensors.Select(tensor => read.Tensors[tensor.Name].ToDoubles())];
    }
}

/// <summary>Tensors of random values, as wide as a trained layer's.</summary>
internal static class RandomTensor
{
    public static TensorToWrite Of(Random random, string name, TensorType type, params long[] shape)
    {
        float[] values = new float[shape.Aggregate((a, b) => a * b)];
        float width = MathF.Sqrt(3f / shape[^1]);
        for (int i = 0; i < values.Length; i++)
            values[i] = (float)(2 * random.NextDouble() - 1) * width;
        return type switch
        {
            TensorType.F16 => TensorToWrite.Of(name, Array.ConvertAll(values, value => (Half)value), shape),
            TensorType.BF16 => new TensorToWrite(
                name, type, shape,
                MemoryMarshal.AsBytes<ushort>(Array.ConvertAll(values, value => (ushort)(BitConverter.SingleToUInt32Bits(value) >> 16))).ToArray()),
            _ => TensorToWrite.Of(name, values, shape),
        };
    }
}
