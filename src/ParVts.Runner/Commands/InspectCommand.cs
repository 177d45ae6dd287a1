using System.CommandLine;
using System.Text.Json;
using ParVts.Engine.Formats;
using ParVts.Runner.Options;
using ParVts.Runner.Output;
using Spectre.Console;

namespace ParVts.Runner.Commands;

/// <summary><c>parvts inspect</c>: what is in a checkpoint, or in one safetensors file.</summary>
internal static class InspectCommand
{
    public static Command Create()
    {
        var model = new Option<string?>("--model") { Description = "A checkpoint's folder.", HelpName = "DIR" };
        var file = new Argument<string?>("FILE")
        {
            Description = "A safetensors file.",
            Arity = ArgumentArity.ZeroOrOne,
        };
        var command = new CommandWithExamples(
            "inspect",
            "Show a checkpoint's settings and tensors, or the tensors of a safetensors file.",
            """
            parvts inspect --model llava-1.5-7b
            parvts inspect dump.safetensors --json
            """)
        {
            model, file,
        };
        command.SetAction(parse =>
        {
            string? directory = parse.GetValue(model);
            string? path = parse.GetValue(file);
            if (directory is null == path is null)
                throw new UsageException("give either --model DIR or a safetensors file");
            bool json = parse.GetValue(CommonOptions.Json);
            return directory is not null ? InspectModel(directory, json) : InspectFile(path!, json);
        });
        return command;
    }

    private static int InspectModel(string directory, bool json)
    {
        ModelConfig config = ModelConfigReader.Read(directory);
        using WeightFiles weights = WeightFiles.Open(directory);
        Dictionary<string, string> metadata = [];
        foreach ((string key, string value) in weights.Files.SelectMany(file => file.Metadata))
            metadata.TryAdd(key, value);
        Report(config, [.. weights.All], metadata, json);
        return (int)ExitCode.Done;
    }

    private static int InspectFile(string path, bool json)
    {
        using SafetensorsFile file = SafetensorsFile.Open(path);
        Report(null, [.. file.Tensors.Values], file.Metadata, json);
        return (int)ExitCode.Done;
    }

    private static void Report(
        ModelConfig? config, StoredTensor[] tensors, IReadOnlyDictionary<string, string> metadata, bool json)
    {
        Array.Sort(tensors, (a, b) => NaturalOrder.Compare(a.Name, b.Name));
        if (json)
            JsonOutput.Write(writer => WriteJson(writer, config, tensors, metadata));
        else
            WriteTables(config, tensors, metadata);
    }

    private static void WriteTables(
        ModelConfig? config, StoredTensor[] tensors, IReadOnlyDictionary<string, string> metadata)
    {
        foreach ((string name, string value) in config is null ? [] : Summarise(config))
            Console.Out.WriteLine($"{name,-12}{value}");
        foreach ((string key, string value) in metadata)
            Console.Out.WriteLine($"{key,-12}{value}");
        Table table = Terminal.CreateTable("tensor", "type", "shape", "bytes");
        foreach (StoredTensor tensor in tensors)
        {
            table.AddTextRow(
                tensor.Name, tensor.Type.Name(), $"[{string.Join(", ", tensor.Shape)}]", Sizes.Count(tensor.ByteLength));
        }

        Terminal.Out.Write(table);
        Console.Out.WriteLine(
            $"{Sizes.Count(tensors.Length)} tensors, {Sizes.Count(tensors.Sum(t => t.ElementCount()))} parameters, "
            + Sizes.Mebibytes(tensors.Sum(t => t.ByteLength)));
    }

    private static void WriteJson(
        Utf8JsonWriter json, ModelConfig? config, StoredTensor[] tensors, IReadOnlyDictionary<string, string> metadata)
    {
        if (config is not null)
            WriteConfig(json, config);
        json.WriteNumber("parameters", tensors.Sum(tensor => tensor.ElementCount()));
        json.WriteNumber("bytes", tensors.Sum(tensor => tensor.ByteLength));
        json.WriteStartObject("metadata");
        foreach ((string key, string value) in metadata)
            json.WriteString(key, value);
        json.WriteEndObject();
        json.WriteStartArray("tensors");
        foreach (StoredTensor tensor in tensors)
        {
            json.WriteStartObject();
            json.WriteString("name", tensor.Name);
            json.WriteString("dtype", tensor.Type.Name());
            json.WriteNumbers("shape", tensor.Shape);
            json.WriteNumber("bytes", tensor.ByteLength);
            json.WriteString("file", Path.GetFileName(tensor.File));
            json.WriteEndObject();
        }

        json.WriteEndArray();
    }

    private static (string Name, string Value)[] Summarise(ModelConfig config)
    {
        TextConfig text = config.Text;
        VisionConfig vision = config.Vision;
        string strategy = config.KeepClassToken ? "with the class token" : "without the class token";
        return
        [
            ("model", config.ModelType),
            ("decoder", $"{text.ModelType}: {text.Layers} layers, hidden {text.HiddenSize}, MLP {text.IntermediateSize}, "
                + $"{text.Heads} heads on {text.KeyValueHeads} KV heads of {text.HeadDim}, "
                + $"vocabulary {text.VocabularySize}, context {text.MaxPositions}"),
            ("vision", $"{vision.ImageSize}×{vision.ImageSize} in patches of {vision.PatchSize}: {vision.Layers} layers, "
                + $"hidden {vision.HiddenSize}, {vision.Heads} heads; layer {config.VisionFeatureLayer}'s features, {strategy}"),
            ("image", $"{config.VisualTokensPerImage} visual tokens, token id {config.ImageTokenId}"),
        ];
    }

    private static void WriteConfig(Utf8JsonWriter json, ModelConfig config)
    {
        TextConfig text = config.Text;
        VisionConfig vision = config.Vision;
        json.WriteStartObject("config");
        json.WriteString("model_type", config.ModelType);
        json.WriteNumber("image_token_id", config.ImageTokenId);
        json.WriteNumber("visual_tokens_per_image", config.VisualTokensPerImage);
        json.WriteNumber("vision_feature_layer", config.VisionFeatureLayer);
        json.WriteString("vision_feature_select_strategy", config.KeepClassToken ? "full" : "default");
        json.WriteBoolean("tie_word_embeddings", config.TieWordEmbeddings);
        json.WriteStartObject("text");
        json.WriteString("model_type", text.ModelType);
        json.WriteNumber("hidden_size", text.HiddenSize);
        json.WriteNumber("intermediate_size", text.IntermediateSize);
        json.WriteNumber("layers", text.Layers);
        json.WriteNumber("heads", text.Heads);
        json.WriteNumber("kv_heads", text.KeyValueHeads);
        json.WriteNumber("head_dim", text.HeadDim);
        json.WriteNumber("vocabulary_size", text.VocabularySize);
        json.WriteNumber("max_positions", text.MaxPositions);
        json.WriteNumber("rope_theta", text.Rope.Theta);
        json.WriteEndObject();
        json.WriteStartObject("vision");
        json.WriteNumber("image_size", vision.ImageSize);
        json.WriteNumber("patch_size", vision.PatchSize);
        json.WriteNumber("hidden_size", vision.HiddenSize);
        json.WriteNumber("intermediate_size", vision.IntermediateSize);
        json.WriteNumber("layers", vision.Layers);
        json.WriteNumber("heads", vision.Heads);
        json.WriteEndObject();
        json.WriteEndObject();
    }
}
