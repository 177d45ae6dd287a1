using System.Globalization;
using System.Text.Json;

namespace ParVts.Runner.Benchmarking;

/// <summary>Reads what <see cref="BenchmarkJson"/> writes; whatever is wrong is an <see cref="InputFileException"/> that names the place.</summary>
internal static class BenchmarkReader
{
    private const long MostBytes = 256L << 20;

    /// <summary>Reads a result file.</summary>
    /// <exception cref="InputFileException">It is malformed.</exception>
    public static BenchmarkDocument Read(string file)
    {
        if (new FileInfo(file) is { Exists: true, Length: > MostBytes })
            throw new InputFileException(file, $"is longer than {MostBytes} bytes: no result of 'parvts bench --json'");
        try
        {
            using JsonDocument json = JsonDocument.Parse(File.ReadAllBytes(file));
            return ReadDocument(new JsonFields(file, "", json.RootElement));
        }
        catch (Exception error) when (error is JsonException or InvalidOperationException)
        {
            // The latter is an escape sequence that makes no valid text.
            throw new InputFileException(file, $"is no JSON: {error.Message}");
        }
    }

    private static BenchmarkDocument ReadDocument(JsonFields fields)
    {
        if (!fields.Is("format", BenchmarkJson.Format))
            throw fields.Wrong("format", $"is not '{BenchmarkJson.Format}': this is no result of 'parvts bench --json'");
        if (fields.Integer("format_version") != BenchmarkJson.FormatVersion)
            throw fields.Wrong("format_version", $"is not {BenchmarkJson.FormatVersion}, which is what this program reads");
        JsonFields machine = fields.Object("machine");
        return new BenchmarkDocument
        {
            Version = fields.Text("version"),
            Date = ReadDate(fields),
            Command = fields.Text("command"),
            Machine = new(
                machine.Text("processor"), machine.Integer("logical_processors"), machine.Text("os"), machine.Text("architecture"), machine.Text("dotnet"),
                machine.Long("memory_bytes")),
            Model = fields.Text("model"),
            WarmUp = fields.Integer("warm_up"),
            Repeats = fields.Integer("repeats"),
            IsComplete = fields.Truth("complete"),
            Results = [.. fields.Objects("results").Select(ReadResult)],
        };
    }

    private static DateTime ReadDate(JsonFields fields) =>
        DateTime.TryParse(fields.Text("date"), CultureInfo.InvariantCulture, DateTimeStyles.AdjustToUniversal, out DateTime date)
            ? date
            : throw fields.Wrong("date", "is no date");

    private static BenchmarkResult ReadResult(JsonFields fields)
    {
        JsonFields memory = fields.Object("memory_bytes");
        return new BenchmarkResult
        {
            Group = new(
                fields.Text("device"), fields.Integer("threads"), fields.Text("text_tokens"), fields.Integer("images"), fields.Integer("new_tokens")),
            Policy = fields.Text("policy"),
            DeviceDescription = fields.Text("device_description"),
            PromptTokens = fields.Integer("prompt_tokens"),
            VisualTokens = fields.Integer("visual_tokens"),
            Trace = new(
                fields.Integers("rows_by_layer"), fields.Integers("kv_rows_by_layer"), fields.Long("kv_bytes"), fields.Long("flops"),
                fields.Long("flops_dense"), fields.Long("pairs_visual")),
            Memory = new(memory.Long("weights"), memory.Long("kv"), memory.Long("workspace"), memory.Long("planned"), memory.LongOrNull("peak_process")),
            Rounds = ReadRounds(fields.Object("rounds")),
        };
    }

    private static BenchmarkRound[] ReadRounds(JsonFields fields)
    {
        double[] vision = fields.Numbers(BenchmarkMeasure.Vision.Name);
        double[] prefill = fields.Numbers(BenchmarkMeasure.Prefill.Name);
        double[] first = fields.Numbers(BenchmarkMeasure.FirstToken.Name);
        double[] decode = fields.Numbers(BenchmarkMeasure.Decode.Name);
        if (prefill.Length is 0 or > BenchmarkStatistics.MostRounds)
            throw fields.Wrong(BenchmarkMeasure.Prefill.Name, $"has {prefill.Length} rounds; there must be 1 to {BenchmarkStatistics.MostRounds}");
        if (vision.Length != prefill.Length || first.Length != prefill.Length || decode.Length != prefill.Length)
            throw fields.Wrong(BenchmarkMeasure.Prefill.Name, "has another number of rounds than the other figures");
        return [.. Enumerable.Range(0, prefill.Length).Select(round => new BenchmarkRound(vision[round], prefill[round], first[round], decode[round]))];
    }

    /// <summary>The members of an object, each of the kind that is asked for.</summary>
    private readonly struct JsonFields(string file, string place, JsonElement element)
    {
        public bool Is(string name, string text) =>
            element.ValueKind == JsonValueKind.Object && element.TryGetProperty(name, out JsonElement value) && value.ValueKind == JsonValueKind.String && value.ValueEquals(text);

        public string Text(string name) => Get(name, JsonValueKind.String, "text").GetString()!;

        public int Integer(string name) => Get(name, JsonValueKind.Number, "whole number").TryGetInt32(out int value) && value >= 0 ? value : throw Wrong(name, "is no whole number");

        public long Long(string name) => Get(name, JsonValueKind.Number, "whole number").TryGetInt64(out long value) && value >= 0 ? value : throw Wrong(name, "is no whole number");

        public long? LongOrNull(string name) => element.TryGetProperty(name, out JsonElement value) && value.ValueKind == JsonValueKind.Null ? null : Long(name);

        public bool Truth(string name) => element.ValueKind == JsonValueKind.Object && element.TryGetProperty(name, out JsonElement value) && value.ValueKind is JsonValueKind.True or JsonValueKind.False
            ? value.GetBoolean()
            : throw Wrong(name, "is missing, or not true or false");

        public JsonFields Object(string name) => new(file, Path(name), Get(name, JsonValueKind.Object, "object"));

        public IEnumerable<JsonFields> Objects(string name)
        {
            string own = file;
            string path = Path(name);
            return Get(name, JsonValueKind.Array, "list").EnumerateArray().Select((one, i) => new JsonFields(own, $"{path}[{i}]", one));
        }

        public double[] Numbers(string name)
        {
            var values = new List<double>();
            foreach (JsonElement one in Get(name, JsonValueKind.Array, "list").EnumerateArray())
            {
                if (one.ValueKind != JsonValueKind.Number || !one.TryGetDouble(out double value) || !double.IsFinite(value) || value < 0)
                    throw Wrong(name, "holds something that is no time");
                values.Add(value);
            }

            return [.. values];
        }

        public int[] Integers(string name)
        {
            var values = new List<int>();
            foreach (JsonElement one in Get(name, JsonValueKind.Array, "list").EnumerateArray())
            {
                if (one.ValueKind != JsonValueKind.Number || !one.TryGetInt32(out int value))
                    throw Wrong(name, "holds something that is no whole number");
                values.Add(value);
            }

            return [.. values];
        }

        public InputFileException Wrong(string name, string message) => new(file, $"'{Path(name)}'", message);

        private string Path(string name) => place.Length == 0 ? name : $"{place}.{name}";

        private JsonElement Get(string name, JsonValueKind kind, string what)
        {
            if (element.ValueKind != JsonValueKind.Object)
                throw new InputFileException(file, place.Length == 0 ? "the root" : $"'{place}'", "is no object");
            return element.TryGetProperty(name, out JsonElement value) && value.ValueKind == kind ? value : throw Wrong(name, $"is missing, or no {what}");
        }
    }
}
