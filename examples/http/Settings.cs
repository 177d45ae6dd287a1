namespace ChatServer;

/// <summary>The command line; what each option means and is by default stands in the README.</summary>
internal sealed record Settings(
    string Model, string Name, string Urls, string Device, int Threads, int Workers, int Queue, int Connections, TimeSpan Deadline, TimeSpan Drain,
    long MaxBody, int MaxImages, long MaxPixels, int MaxTokens)
{
    public const int MaxMessages = 64;
    public const int MaxDepth = 16;
    public const int MaxStops = 4;
    public const int MaxStopLength = 256;
    public const int MaxPolicyLength = 4096;

    // Characters of text a token of context; a prompt of more cannot fit, and is not worth tokenizing.
    public const int MaxCharactersPerToken = 32;

    public static Settings Parse(string[] arguments)
    {
        var values = new Dictionary<string, string>
        {
            ["model"] = "",
            ["name"] = "",
            ["urls"] = "http://127.0.0.1:8080",
            ["device"] = "auto",
            ["threads"] = "0",
            ["workers"] = "2",
            ["queue"] = "16",
            ["connections"] = "512",
            ["deadline"] = "60",
            ["drain"] = "30",
            ["max-body"] = "16777216",
            ["max-images"] = "8",
            ["max-pixels"] = "16777216",
            ["max-tokens"] = "256",
        };
        for (int i = 0; i < arguments.Length; i += 2)
        {
            string name = arguments[i].StartsWith("--", StringComparison.Ordinal) ? arguments[i][2..] : "";
            if (!values.ContainsKey(name) || i + 1 == arguments.Length)
                throw new ArgumentException($"'{arguments[i]}' is no option, or lacks its value; there are: --{string.Join(", --", values.Keys)}");
            values[name] = arguments[i + 1];
        }

        string model = values["model"].Length > 0 ? values["model"] : throw new ArgumentException("--model DIR is missing: the checkpoint's folder");
        return new Settings(
            model, values["name"].Length > 0 ? values["name"] : Path.GetFileName(Path.GetFullPath(model).TrimEnd('/', '\\')), values["urls"], values["device"],
            Number("threads", 0), Number("workers", 1), Number("queue", 0), Number("connections", 1), TimeSpan.FromSeconds(Number("deadline", 1)),
            TimeSpan.FromSeconds(Number("drain", 0)), Number("max-body", 1), Number("max-images", 0), Number("max-pixels", 1), Number("max-tokens", 1));

        int Number(string name, int least) => int.TryParse(values[name], out int value) && value >= least && value <= (name is "deadline" or "drain" ? 86400 : int.MaxValue - 5)
            ? value
            : throw new ArgumentException($"--{name} {values[name]}: a whole number of at least {least} was expected");
    }
}
