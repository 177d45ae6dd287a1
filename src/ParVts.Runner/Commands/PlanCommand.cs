using System.CommandLine;
using System.Globalization;
using ParVts.Engine.Compute;
using ParVts.Engine.Generation;
using ParVts.Engine.Scheduling;
using ParVts.Runner.Options;
using ParVts.Runner.Output;

namespace ParVts.Runner.Commands;

/// <summary><c>parvts plan</c>: what a run would take, in the worst case.</summary>
internal static class PlanCommand
{
    public static Command Create()
    {
        var options = new RunOptions();
        var command = new CommandWithExamples(
            "plan",
            "Say what memory a run would take in the worst case, without running it.",
            """
            parvts plan --model llava-1.5-7b --image cat.jpg --prompt "What is it?" --max-tokens 512
            parvts plan --model llava-1.5-7b --prompt "Hello" --memory-cap 8G || echo "too large for this machine"
            """);
        options.AddTo(command);
        command.SetAction(parse => Run(parse, options));
        return command;
    }

    private static int Run(ParseResult parse, RunOptions options)
    {
        // Opened without the cap: the plan is shown first, also where it does not fit.
        using Request request = options.Open(parse, capped: false);
        using Session session = request.Engine.CreateSession(request.Policy);
        MemoryPlan plan = session.Plan(request.Prompt, request.Options);
        ScheduleTrace schedule = session.PlanTrace(request.Prompt);
        long? cap = options.Model.MemoryCap(parse);
        if (parse.GetValue(CommonOptions.Json))
            WriteJson(request, session.Policy, plan, schedule, cap);
        else
            WriteTable(request, session.Policy, plan, schedule);
        plan.Require(cap);
        return (int)ExitCode.Done;
    }

    private static void WriteTable(Request request, string policy, MemoryPlan plan, ScheduleTrace schedule)
    {
        Console.Out.WriteLine(
            $"{request.Prompt.Length} prompt tokens ({VisualTokens(request)} visual), "
            + $"at most {request.Options.MaxTokens} new tokens, policy {policy}, device {request.Engine.DeviceName}");
        Spectre.Console.Table table = Terminal.CreateTable("memory", "bytes", "");
        foreach ((string name, long bytes) in Categories(plan))
            table.AddTextRow(name, Sizes.Count(bytes), Sizes.Mebibytes(bytes));
        Terminal.Out.Write(table);
        double share = schedule.FlopsDense == 0 ? 1 : (double)schedule.Flops / schedule.FlopsDense;
        Console.Out.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"prefill: {schedule.Flops / 1e9:0.###} GFLOP, {Sizes.Percent(share)} of dense; rows by layer {Sizes.Runs(schedule.RowsByLayer)}; KV rows {Sizes.Runs(schedule.KvRowsByLayer)}"));
    }

    private static void WriteJson(
        Request request, string policy, MemoryPlan plan, ScheduleTrace schedule, long? cap) => JsonOutput.Write(json =>
    {
        json.WriteString("device", request.Engine.DeviceName);
        json.WriteString("policy", policy);
        json.WriteNumber("prompt_tokens", request.Prompt.Length);
        json.WriteNumber("visual_tokens", VisualTokens(request));
        json.WriteNumber("max_tokens", request.Options.MaxTokens);
        json.WriteStartObject("memory_bytes");
        foreach ((string name, long bytes) in Categories(plan))
            json.WriteNumber(name, bytes);
        json.WriteEndObject();
        json.WriteNumber("flops", schedule.Flops);
        json.WriteNumber("flops_dense", schedule.FlopsDense);
        json.WriteNumbers("rows_by_layer", schedule.RowsByLayer);
        json.WriteNumbers("kv_rows_by_layer", schedule.KvRowsByLayer);
        if (cap is long limit)
        {
            json.WriteNumber("memory_cap", limit);
            json.WriteBoolean("fits", plan.Total <= limit);
        }
    });

    private static (string Name, long Bytes)[] Categories(MemoryPlan plan) =>
    [
        ("weights", plan.Weights),
        ("kv", plan.KeyValues),
        ("workspace", plan.Workspace),
        ("process", plan.Process),
        ("total", plan.Total),
    ];

    private static int VisualTokens(Request request) => request.Prompt.Images.Count * request.Prompt.TokensPerImage;
}
