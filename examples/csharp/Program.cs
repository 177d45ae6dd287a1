// Asks a question about a picture: the engine and its sessions come from a service provider, the answer streams to the console.
using System.Text.Json;
using Ask;
using Microsoft.Extensions.DependencyInjection;
using ParVts.Engine;
using ParVts.Engine.Generation;

Arguments arguments;
try
{
    arguments = Arguments.Parse(args);
}
catch (ArgumentException error)
{
    Console.Error.WriteLine($"{error.Message}\n{Arguments.Usage}");
    return 2;
}

// The weights are opened once and serve any thread. A session has a KV cache and serves one caller at a time: one for each scope, which a
// server makes for each request.
await using ServiceProvider services = new ServiceCollection()
    .AddSingleton(_ => Engine.Open(arguments.Model, new EngineOptions { Device = arguments.Device }))
    .AddScoped(provider => provider.GetRequiredService<Engine>().CreateSession(arguments.Policy))
    .AddScoped<Assistant>()
    .BuildServiceProvider();

using var stop = new CancellationTokenSource();
Console.CancelKeyPress += (_, press) =>
{
    // The first Ctrl-C ends the answer, a second one the process.
    press.Cancel = !stop.IsCancellationRequested;
    stop.Cancel();
};

try
{
    await using AsyncServiceScope scope = services.CreateAsyncScope();
    Assistant assistant = scope.ServiceProvider.GetRequiredService<Assistant>();
    AnswerStream answer = assistant.Ask(arguments.Prompt, arguments.Images, arguments.Deadline, stop.Token);
    await foreach (string piece in answer)
    {
        if (!arguments.Json)
            Console.Write(piece);
    }

    if (arguments.Json)
        WriteJson(scope.ServiceProvider, answer.Result);
    else
        Console.WriteLine(answer.Result.Finish == FinishReason.Cancelled ? " …" : "");
    return 0;
}
catch (Exception error) when (error is ParVtsException or IOException)
{
    Console.Error.WriteLine($"error: {error.Message}");
    return 1;
}

// The members that 'parvts run --json' has, too.
static void WriteJson(IServiceProvider services, GenerationResult result)
{
    Engine engine = services.GetRequiredService<Engine>();
    using Stream output = Console.OpenStandardOutput();
    using var json = new Utf8JsonWriter(output);
    json.WriteStartObject();
    ResultJson.WriteAnswer(json, result);
    json.WriteString("device", engine.DeviceName);
    json.WriteString("policy", services.GetRequiredService<Session>().Policy);
    json.WriteStartObject("times_ms");
    json.WriteNumber("load", Math.Round(engine.LoadTime.TotalMilliseconds, 3));
    ResultJson.WriteTimes(json, result.Times);
    json.WriteEndObject();
    ResultJson.WriteTrace(json, result.Trace);
    json.WriteEndObject();
}
