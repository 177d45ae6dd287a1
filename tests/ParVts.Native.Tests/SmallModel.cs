using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json.Nodes;

namespace ParVts.Native.Tests;

/// <summary>
/// The demo model cut down for machines that are a thousand times slower than this one: two layers each in the decoder and the vision tower, and
/// pictures of 16 visual tokens in place of 144. It answers nonsense, and always the same.
/// </summary>
internal static class SmallModel
{
    private const int Layers = 2;
    private const int Patches = 16;

    private static readonly Lazy<string> s_folder = new(Make);

    /// <summary>Its folder, made when it is first asked for.</summary>
    public static string Folder => s_folder.Value;

    private static string Make()
    {
        string folder = Directory.CreateTempSubdirectory("parvts-small-").FullName;
        AppDomain.CurrentDomain.ProcessExit += (_, _) => Directory.Delete(folder, recursive: true);
        foreach (string file in Directory.GetFiles(Host.Model))
            File.Copy(file, Path.Combine(folder, Path.GetFileName(file)));
        JsonObject preprocessor = ReadJson(folder, "preprocessor_config.json");
        JsonObject config = ReadJson(folder, "config.json");
        JsonObject vision = config["vision_config"]!.AsObject();
        int side = (int)Math.Sqrt(Patches) * (int)vision["patch_size"]!;
        vision["image_size"] = side;
        vision["num_hidden_layers"] = Layers;
        config["text_config"]!["num_hidden_layers"] = Layers;
        preprocessor["size"]!["shortest_edge"] = side;
        preprocessor["crop_size"] = new JsonObject { ["height"] = side, ["width"] = side };
        File.WriteAllText(Path.Combine(folder, "config.json"), config.ToJsonString());
        File.WriteAllText(Path.Combine(folder, "preprocessor_config.json"), preprocessor.ToJsonString());
        CutWeights(Path.Combine(folder, "model.safetensors"));
        return folder;
    }

    private static JsonObject ReadJson(string folder, string file) => JsonNode.Parse(File.ReadAllText(Path.Combine(folder, file)))!.AsObject();

    private static bool IsOfALayerThatLeaves(string tensor)
    {
        string[] parts = tensor.Split('.');
        int layers = Array.IndexOf(parts, "layers");
        return layers >= 0 && int.Parse(parts[layers + 1], CultureInfo.InvariantCulture) >= Layers;
    }

    // The layers that stay are the first ones, and so are the positions of patches.
    private static void CutWeights(string file)
    {
        byte[] bytes = File.ReadAllBytes(file);
        int start = 8 + (int)MemoryMarshal.Read<long>(bytes);
        JsonObject header = JsonNode.Parse(Encoding.UTF8.GetString(bytes, 8, start - 8))!.AsObject();
        using var data = new MemoryStream();
        foreach ((string name, JsonNode? tensor) in header.Where(pair => pair.Key != "__metadata__").ToArray())
        {
            if (IsOfALayerThatLeaves(name))
            {
                header.Remove(name);
                continue;
            }

            int begin = start + (int)tensor!["data_offsets"]![0]!;
            int length = start + (int)tensor["data_offsets"]![1]! - begin;
            if (name.EndsWith("position_embedding.weight", StringComparison.Ordinal))
            {
                length = length / (int)tensor["shape"]![0]! * (Patches + 1);
                tensor["shape"]![0] = Patches + 1;
            }

            tensor["data_offsets"] = new JsonArray((long)data.Length, data.Length + length);
            data.Write(bytes, begin, length);
        }

        byte[] text = Encoding.UTF8.GetBytes(header.ToJsonString());
        using FileStream output = File.Create(file);
        output.Write(MemoryMarshal.AsBytes<long>([text.Length]));
        output.Write(text);
        data.WriteTo(output);
    }
}
