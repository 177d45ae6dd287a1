using System.CommandLine;
using System.Text.Json;
using ParVts.Engine.Text;
using ParVts.Runner.Output;

namespace ParVts.Runner.Commands;

/// <summary><c>parvts tokenize</c>: JSON lines in, JSON lines out.</summary>
internal static class TokenizeCommand
{
    public static Command Create()
    {
        var tokenizer = new Option<string>("--tokenizer")
        {
            Description = "tokenizer.json or tokenizer.json.gz, or the folder that holds it.",
            HelpName = "FILE|DIR",
            Required = true,
        };
        var command = new CommandWithExamples(
            "tokenize",
            "Turn text into token ids and back: one JSON object a line on standard input, one on standard output.",
            """
            echo '{"text": "Hello <image>"}' | parvts tokenize --tokenizer llava-1.5-7b
            echo '{"ids": [1, 15043]}' | parvts tokenize --tokenizer llava-1.5-7b/tokenizer.json
            """);
        command.Options.Add(tokenizer);
        command.SetAction(parse => Run(parse.GetRequiredValue(tokenizer)));
        return command;
    }

    private static int Run(string path)
    {
        Tokenizer tokenizer = Tokenizer.Load(path);
        for (int number = 1; Console.In.ReadLine() is string line; number++)
        {
            if (!string.IsNullOrWhiteSpace(line))
                Answer(tokenizer, line, number);
        }

        return (int)ExitCode.Done;
    }

    private static void Answer(Tokenizer tokenizer, string line, int number)
    {
        using JsonDocument document = Parse(line, number);
        JsonElement request = document.RootElement;
        if (request.ValueKind == JsonValueKind.Object && request.TryGetProperty("text", out JsonElement text)
            && text.ValueKind == JsonValueKind.String)
        {
            WriteIds(tokenizer, text.GetString()!);
        }
        else if (request.ValueKind == JsonValueKind.Object && request.TryGetProperty("ids", out JsonElement ids)
            && ids.ValueKind == JsonValueKind.Array)
        {
            WriteText(tokenizer, ReadIds(ids, number));
        }
        else
        {
            throw new InputFileException("standard input", number, "expected {\"text\": \"…\"} or {\"ids\": […]}");
        }
    }

    private static JsonDocument Parse(string line, int number)
    {
        try
        {
            return JsonDocument.Parse(line);
        }
        catch (JsonException error)
        {
            throw new InputFileException("standard input", number, $"not JSON: {error.Message}");
        }
    }

    private static int[] ReadIds(JsonElement array, int number)
    {
        int[] ids = new int[array.GetArrayLength()];
        int count = 0;
        foreach (JsonElement element in array.EnumerateArray())
        {
            if (element.ValueKind != JsonValueKind.Number || !element.TryGetInt32(out ids[count++]))
                throw new InputFileException("standard input", number, $"\"ids\" holds {element}, which is no token id");
        }

        return ids;
    }

    private static void WriteIds(Tokenizer tokenizer, string text) => JsonOutput.Write(json =>
    {
        json.WriteNumbers("ids", tokenizer.Encode(text));
        json.WriteNumbers("ids_without_special", tokenizer.Encode(text, addSpecialTokens: false));
        json.WriteNumbers("ids_special_tokens_as_text", tokenizer.Encode(text, addSpecialTokens: false, specialTokensAsText: true));
    });

    private static void WriteText(Tokenizer tokenizer, int[] ids) => JsonOutput.Write(json =>
    {
        json.WriteString("text", tokenizer.Decode(ids, skipSpecialTokens: false));
        json.WriteString("text_skip_special", tokenizer.Decode(ids, skipSpecialTokens: true));
    });
}
