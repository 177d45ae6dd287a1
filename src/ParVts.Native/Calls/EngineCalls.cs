using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using ParVts.Engine.Generation;
using ParVts.Engine.Imaging;
using ParVts.Native.Items;

namespace ParVts.Native.Calls;

/// <summary>The library, models, their tokenizers, pictures. Nothing here but the way from C into the engine.</summary>
internal static unsafe class EngineCalls
{
    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int Info(byte* json, nuint capacity, nuint* count, ErrorInfo* error) => Call.Run(error, () => Caller.WriteJson(
        writer =>
        {
            writer.WriteString("version", typeof(EngineCalls).Assembly.GetName().Version?.ToString(3) ?? "unknown");
            writer.WriteString("runtime", RuntimeInformation.FrameworkDescription);
            writer.WriteString("architecture", RuntimeInformation.ProcessArchitecture.ToString());
            writer.WriteNumber("vector_bits", Vector512.IsHardwareAccelerated ? 512 : Vector256.IsHardwareAccelerated ? 256 : 128);
            writer.WriteNumber("logical_processors", Environment.ProcessorCount);
        },
        json, capacity, count));

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int Open(byte* directory, ulong options, ulong* engine, ErrorInfo* error) => Call.Run(error, () =>
    {
        Call.Require(engine, "engine");
        *engine = 0;
        string path = Caller.Read(directory, "directory");
        EngineOptions how = OptionSet.Get<EngineOptionSet>(options, "engine").Options;
        *engine = Handles.Add(new EngineItem(Engine.Generation.Engine.Open(path, how)));
    });

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int Describe(ulong engine, byte* json, nuint capacity, nuint* count, ErrorInfo* error) => Call.Run(error, () =>
    {
        Engine.Generation.Engine model = Handles.Get<EngineItem>(engine).Engine;
        Caller.WriteJson(
            writer =>
            {
                writer.WriteString("device", model.DeviceName);
                writer.WriteString("device_description", model.DeviceDescription);
                writer.WriteNumber("layers", model.Config.Text.Layers);
                writer.WriteNumber("hidden", model.Config.Text.HiddenSize);
                writer.WriteNumber("vocabulary", model.Config.Text.VocabularySize);
                writer.WriteNumber("context", model.Config.Text.MaxPositions);
                writer.WriteNumber("visual_tokens_per_image", model.Config.VisualTokensPerImage);
                writer.WriteNumber("image_token", model.Config.ImageTokenId);
                writer.WriteNumber("weights_bytes", model.WeightBytes);
                writer.WriteNumber("load_ms", Math.Round(model.LoadTime.TotalMilliseconds, 3));
            },
            json, capacity, count);
    });

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int Close(ulong engine, ErrorInfo* error) => Call.Run(error, () => Handles.Close<EngineItem>(engine));

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int Tokenize(ulong engine, byte* text, int* tokens, nuint capacity, nuint* count, ErrorInfo* error) => Call.Run(error, () =>
        Caller.Write<int>(Handles.Get<EngineItem>(engine).Engine.Tokenizer.Encode(Caller.Read(text, "text")), tokens, capacity, count));

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int Detokenize(ulong engine, int* tokens, nuint tokenCount, byte* text, nuint capacity, nuint* count, ErrorInfo* error) => Call.Run(error, () =>
        Caller.Write(
            Handles.Get<EngineItem>(engine).Engine.Tokenizer.Decode(Caller.Read(tokens, tokenCount, "tokens"), skipSpecialTokens: true), text, capacity, count));

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int LoadImage(ulong engine, byte* path, byte* aspect, ulong* image, ErrorInfo* error) => Call.Run(error, () =>
        Prepare(engine, aspect, image, () =>
        {
            string name = Caller.Read(path, "path");
            return name.Length > 0 ? ImageDecoder.Load(name) : throw new CallException(Status.InvalidArgument, "path is empty");
        }));

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int DecodeImage(ulong engine, byte* bytes, nuint size, byte* aspect, ulong* image, ErrorInfo* error) => Call.Run(error, () =>
        Prepare(engine, aspect, image, () => ImageDecoder.Decode(Caller.Read(bytes, size, "bytes"))));

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int TakePixels(ulong engine, byte* pixels, int width, int height, byte* aspect, ulong* image, ErrorInfo* error) => Call.Run(error, () =>
        Prepare(engine, aspect, image, () =>
        {
            long most = ImageLimits.Default.MaxPixels;
            if (width < 1 || height < 1 || (long)width * height > most)
                throw new CallException(Status.InvalidArgument, $"a picture of {width} × {height} pixels; sides must be at least 1, and all at most {most} pixels");
            return new RgbImage(width, height, Caller.Read(pixels, (nuint)width * (nuint)height * 3, "pixels").ToArray());
        }));

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int TakeEmbeddings(ulong engine, float* rows, nuint count, ulong* image, ErrorInfo* error) => Call.Run(error, () =>
    {
        Call.Require(image, "image");
        *image = 0;
        Engine.Generation.Engine model = Handles.Get<EngineItem>(engine).Engine;
        *image = Handles.Add(new ImageItem(model.PrepareEmbeddings(Caller.Read(rows, count, "rows"))));
    });

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int CloseImage(ulong image, ErrorInfo* error) => Call.Run(error, () => Handles.Close<ImageItem>(image));

    private static void Prepare(ulong engine, byte* aspect, ulong* image, Func<RgbImage> read)
    {
        Call.Require(image, "image");
        *image = 0;
        Engine.Generation.Engine model = Handles.Get<EngineItem>(engine).Engine;
        string name = Caller.ReadOrNull(aspect, "aspect") ?? "model";
        ImageAspect how = name switch
        {
            "model" => ImageAspect.Model,
            "pad" => ImageAspect.Pad,
            "crop" => ImageAspect.Crop,
            "stretch" => ImageAspect.Stretch,
            _ => throw new CallException(Status.InvalidArgument, $"there is no aspect '{name}'", "aspects are: model, pad, crop, stretch"),
        };
        *image = Handles.Add(new ImageItem(model.PrepareImage(read(), how)));
    }
}
