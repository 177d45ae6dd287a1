using System.CommandLine;
using System.Text.Json;
using ParVts.Engine.Formats;
using ParVts.Engine.Generation;
using ParVts.Runner.Dumping;
using ParVts.Runner.Options;
using ParVts.Runner.Output;

namespace ParVts.Runner.Commands;

/// <summary><c>parvts dump</c>: every stage's output of a run, as safetensors.</summary>
internal static class DumpCommand
{
    public static Command Create()
    {
        var options = new RunOptions();
        var output = new Option<string>("--out") { Description = "The file to write.", HelpName = "X.safetensors", Required = true };
        var stages = new Option<string[]>("--stages")
        {
            Description = $"all, or names with commas between: {string.Join(", ", StageSelection.Names)}; "
                + "hidden, rows, kept and scores may end in a layer, as in hidden.3.",
            HelpName = "NAMES",
            DefaultValueFactory = _ => ["all"],
        };
        var command = new CommandWithExamples(
            "dump",
            "Run, and write what every stage put out: pixels, features, hidden rows of each layer, logits.",
            """
            parvts dump --model llava-1.5-7b --image cat.jpg --prompt "What is it?" --max-tokens 4 --out dump.safetensors
            parvts dump --model llava-1.5-7b --image cat.jpg --prompt "What is it?" --stages logits,hidden.0 --out dump.safetensors
            """);
        options.AddTo(command);
        command.Options.Add(output);
        command.Options.Add(stages);
        command.SetAction(parse => Run(
            parse, options, StageSelection.Parse(parse.GetRequiredValue(stages)), parse.GetRequiredValue(output)));
        return command;
    }

    private static int Run(ParseResult parse, RunOptions options, StageSelection stages, string file)
    {
        using Request request = options.Open(parse);
        stages.RequireLayers(request.Engine.Config.Text.Layers);
        using Session session = request.Engine.CreateSession(request.Policy);
        var collector = new StageCollector(request, session, stages);
        session.Sink = collector.Receive;
        GenerationResult result = Answering.Generate(session, request.Prompt, request.Options);
        session.Sink = null;
        IReadOnlyList<TensorToWrite> tensors = collector.Finish(result);
        SafetensorsWriter.Write(file, tensors, new Dictionary<string, string>
        {
            ["policy"] = session.Policy,
            ["device"] = request.Engine.DeviceName,
            ["text"] = result.Text,
        });

        var report = new AnswerReport(request.Engine, session, result, request.ImageMilliseconds);
        if (parse.GetValue(CommonOptions.Json))
        {
            JsonOutput.Write(json =>
            {
                report.Write(json);
                WriteContents(json, file, tensors);
            });
            return (int)ExitCode.Done;
        }

        Console.Out.WriteLine(result.Text);
        Terminal.Note(report.Summary());
        Terminal.Note($"{file}: {tensors.Count} tensors");
        return (int)ExitCode.Done;
    }

    private static void WriteContents(Utf8JsonWriter json, string file, IReadOnlyList<TensorToWrite> tensors)
    {
        json.WriteString("out", file);
        json.WriteStartArray("tensors");
        foreach (TensorToWrite tensor in tensors)
        {
            json.WriteStartObject();
            json.WriteString("name", tensor.Name);
            json.WriteString("dtype", tensor.Type.Name());
            json.WriteNumbers("shape", tensor.Shape);
            json.WriteEndObject();
        }

        json.WriteEndArray();
    }
}
