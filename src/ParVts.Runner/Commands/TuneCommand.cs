using System.CommandLine;
using System.Globalization;
using System.Text.Json.Nodes;
using ParVts.Engine.Generation;
using ParVts.Engine.Scheduling;
using ParVts.Runner.Options;
using ParVts.Runner.Output;
using ParVts.Runner.Tuning;

namespace ParVts.Runner.Commands;

/// <summary><c>parvts tune</c>: a policy's settings for a model, from unlabelled pictures.</summary>
internal static class TuneCommand
{
    private const double DefaultThreshold = 0.05;
    private const double LittleSaved = 0.9;
    private const int DefaultLimit = 20;
    private static readonly string[] s_pictures = [".png", ".jpg", ".jpeg", ".webp", ".bmp", ".ppm"];

    public static Command Create()
    {
        var model = new ModelOptions();
        var images = new Option<string>("--images")
        {
            Description = "A folder of pictures (png, jpg, webp, bmp, ppm); no labels are needed.",
            HelpName = "DIR",
            Required = true,
        };
        var policy = new Option<string>("--policy")
        {
            Description = "The policy to tune: what its string gives stays, what it leaves open is looked for.",
            HelpName = "NAME",
            Required = true,
        };
        var output = new Option<string>("--out")
        {
            Description = "Where the policy file goes; '--policy @FILE' uses it.",
            HelpName = "policy.json",
            Required = true,
        };
        var prompts = new Option<string[]>("--prompt")
        {
            Description = "A question to ask about the pictures, in turn; may be repeated.",
            HelpName = "TEXT",
            DefaultValueFactory = _ => ["Describe the image."],
        };
        var threshold = new Option<double>("--threshold")
        {
            Description = "Mean KL divergence from the dense model's first token, in nats, that is still close enough. A setting that "
                + "cannot stay under it is dropped at once: the table then shows the bound that is certain (≥).",
            HelpName = "KL",
            DefaultValueFactory = _ => DefaultThreshold,
        };
        var limit = new Option<int>("--limit")
        {
            Description = "Pictures to use, from the first on by name.",
            HelpName = "N",
            DefaultValueFactory = _ => DefaultLimit,
        };
        Option<string> template = PromptOptions.CreateTemplate();
        Option<string> aspect = PromptOptions.CreateAspect();
        var command = new CommandWithExamples(
            "tune",
            "Find the cheapest settings of a policy that stay close to the dense model, from unlabelled pictures.",
            """
            parvts tune --model llava-1.5-7b --images photos --policy parvts:keep=64 --out parvts.json
            parvts tune --model demo --images photos --policy vtw --prompt "how many objects are there?" --threshold 0.1 --out vtw.json
            parvts run --model demo --image cat.png --prompt "what is it?" --policy @parvts.json
            """);
        model.AddTo(command);
        foreach (Option option in new Option[] { images, policy, output, prompts, threshold, limit, template, aspect })
            command.Options.Add(option);
        command.SetAction(parse =>
        {
            var request = new TuningRequest(
                parse.GetRequiredValue(images), parse.GetRequiredValue(policy), parse.GetRequiredValue(output),
                parse.GetRequiredValue(prompts), parse.GetValue(threshold), parse.GetValue(limit));
            request.Require();
            string chosen = PromptOptions.RequireTemplate(parse.GetRequiredValue(template));
            using InferenceEngine engine = model.Open(parse);
            return Run(parse, engine, request, picture => engine.PrepareImage(
                picture.Image, PromptOptions.ParseAspect(parse.GetRequiredValue(aspect))), chosen);
        });
        return command;
    }

    private static int Run(
        ParseResult parse, InferenceEngine engine, TuningRequest request, Func<Picture, PromptImage> prepare, string template)
    {
        (IReadOnlyList<string> settings, Func<IReadOnlyList<string>, string>? together) = PolicyRegistry.Settings(request.Policy, engine.PolicyModel);
        List<Prompt> prompts = [];
        foreach (string file in Pictures(request.Images).Take(request.Limit))
        {
            string question = request.Prompts[prompts.Count % request.Prompts.Length];
            prompts.Add(engine.CreatePrompt([PromptText.UserMessage(question, 1)], [prepare(Picture.Load(file))], template));
        }

        var tuner = new Tuner(engine, prompts, request.Threshold);
        using var interrupt = new Interrupt();
        using var progress = new ProgressDisplay();
        if (together is not null)
            settings = tuner.Sets(settings, together, (done, total) => progress.Report(new GenerationProgress("layers", done, total)), interrupt.Token);
        TuningTrial? best = tuner.Run(
            settings, (done, total) => progress.Report(new GenerationProgress("settings", done, total)), interrupt.Token);
        progress.Finish();
        if (best is not null)
            Write(engine, request, best, tuner.Trials.Count, prompts.Count);
        if (parse.GetValue(CommonOptions.Json))
            WriteJson(tuner.Trials, best, settings.Count);
        else
            WriteTable(tuner.Trials, best);
        if (best is not null)
        {
            Terminal.Note(string.Create(
                CultureInfo.InvariantCulture,
                $"chosen: {best.Policy}, mean KL {best.Divergence:0.0000}, prefill FLOPs {100 * best.FlopsShare:0.0} % of dense; written: {request.Output}"));
            if (best.FlopsShare > LittleSaved)
                Terminal.Note("it saves next to nothing: nothing cheaper stays under the threshold; raise --threshold, or keep fewer tokens later");
            return (int)ExitCode.Done;
        }

        TuningTrial closest = tuner.Finish(tuner.Trials.MaxBy(trial => trial.Prompts)!, interrupt.Token);
        Terminal.Note(string.Create(
            CultureInfo.InvariantCulture,
            $"no setting of '{request.Policy}' stays under {request.Threshold} nats; nothing was written. The one that held out longest is "
            + $"'{closest.Policy}', at {closest.Divergence:0.0000}: raise --threshold, or keep more tokens."));
        return (int)ExitCode.Failed;
    }

    private static void Write(InferenceEngine engine, TuningRequest request, TuningTrial best, int tried, int prompts) => PolicyFile.Write(
        request.Output,
        best.Policy,
        new JsonObject
        {
            ["tuned"] = new JsonObject
            {
                ["model"] = Path.GetFileName(Path.TrimEndingDirectorySeparator(Path.GetFullPath(engine.Directory))),
                ["mean_kl"] = best.Divergence,
                ["flops_share"] = best.FlopsShare,
                ["threshold"] = request.Threshold,
                ["pictures"] = prompts,
                ["prompts"] = new JsonArray([.. request.Prompts.Select(prompt => JsonValue.Create(prompt))]),
                ["settings_tried"] = tried,
            },
        });

    private static IEnumerable<string> Pictures(string folder)
    {
        if (!Directory.Exists(folder))
            throw new DirectoryNotFoundException($"{folder}: there is no such folder");
        string[] files = [.. Directory.GetFiles(folder).Where(file => s_pictures.Contains(Path.GetExtension(file).ToLowerInvariant())).Order(StringComparer.Ordinal)];
        return files.Length > 0 ? files : throw new FileNotFoundException($"{folder}: there are no pictures in it ({string.Join(", ", s_pictures)})");
    }

    private static void WriteTable(IReadOnlyList<TuningTrial> trials, TuningTrial? best)
    {
        Spectre.Console.Table table = Terminal.CreateTable(["setting", "prefill FLOPs", "mean KL", "prompts", ""]);
        foreach (TuningTrial trial in trials)
        {
            table.AddTextRow(
                [
                    trial.Policy,
                    Sizes.Percent(trial.FlopsShare),
                    (trial.IsMean ? "" : "≥ ") + trial.Divergence.ToString("0.0000", CultureInfo.InvariantCulture),
                    Sizes.Count(trial.Prompts),
                    trial == best ? "chosen" : "",
                ]);
        }

        Terminal.Out.Write(table);
    }

    private static void WriteJson(IReadOnlyList<TuningTrial> trials, TuningTrial? best, int settings) => JsonOutput.Write(json =>
    {
        json.WriteString("policy", best?.Policy);
        json.WriteNumber("settings", settings);
        json.WriteStartArray("trials");
        foreach (TuningTrial trial in trials)
        {
            json.WriteStartObject();
            json.WriteString("policy", trial.Policy);
            json.WriteNumber("flops_share", trial.FlopsShare);
            if (double.IsFinite(trial.Divergence))
                json.WriteNumber(trial.IsMean ? "mean_kl" : "mean_kl_at_least", trial.Divergence);
            else
                json.WriteNull("mean_kl");
            json.WriteNumber("prompts", trial.Prompts);
            json.WriteEndObject();
        }

        json.WriteEndArray();
    });

    /// <summary>What the command line asks for.</summary>
    private sealed record TuningRequest(
        string Images, string Policy, string Output, string[] Prompts, double Threshold, int Limit)
    {
        public void Require()
        {
            if (!(Threshold > 0))
                throw new UsageException($"--threshold is {Threshold}; it must be above 0");
            if (Limit < 1)
                throw new UsageException($"--limit is {Limit}; it must be at least 1");
            if (Prompts.Length == 0 || Prompts.Any(string.IsNullOrWhiteSpace))
                throw new UsageException("--prompt is empty");
            _ = PolicyRegistry.Create(Policy);
            OutputFile.Require("--out", Output);
        }
    }
}
