using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using ParVts.Engine.Compute.Cpu;
using ParVts.Engine.Generation;
using ParVts.Engine.Imaging;
using ParVts.Native.Items;

namespace ParVts.Native.Calls;

/// <summary>The library, models, their tokenizers, pictures. Nothing here but the way from C into the engine.</summary>
internal static unsafe class EngineCalls
{
    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int Info(byte* json, nuint capacity, nuint* count, ErrorInfo* error)
    {
        try
        {
            Call.Begin(error);
            Caller.WriteJson(
                static writer =>
                {
                    writer.WriteString("version", typeof(EngineCalls).Assembly.GetName().Version?.ToString(3) ?? "unknown");
                    writer.WriteString("runtime", RuntimeInformation.FrameworkDescription);
                    writer.WriteString("architecture", RuntimeInformation.ProcessArchitecture.ToString());
                    writer.WriteStartArray("simd");
                    foreach (string set in InstructionSets.Names)
                        writer.WriteStringValue(set);
                    writer.WriteEndArray();
                    writer.WriteNumber("vector_bits", InstructionSets.VectorBits);
                    writer.WriteNumber("logical_processors", Environment.ProcessorCount);
                    writer.WriteNumber("open_handles", Handles.Count);
                },
                json, capacity, count);
            return Call.Done(error);
        }
        catch (Exception failure)
        {
            return Call.Fail(error, failure);
        }
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int Open(byte* directory, ulong options, ulong* engine, ErrorInfo* error)
    {
        try
        {
            Call.Begin(error);
            Call.Require(engine, "engine");
            *engine = 0;
            string path = Caller.Read(directory, "directory");
            EngineOptions how = OptionSet.Get<EngineOptionSet>(options, "engine").Options;
            *engine = Handles.Add(new EngineItem(Engine.Generation.Engine.Open(path, how)));
            return Call.Done(error);
        }
        catch (Exception failure)
        {
            return Call.Fail(error, failure);
        }
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int Describe(ulong engine, byte* json, nuint capacity, nuint* count, ErrorInfo* error)
    {
        try
        {
            Call.Begin(error);
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
            return Call.Done(error);
        }
        catch (Exception failure)
        {
            return Call.Fail(error, failure);
        }
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int Close(ulong engine, ErrorInfo* error)
    {
        try
        {
            Call.Begin(error);
            Handles.Close<EngineItem>(engine);
            return Call.Done(error);
        }
        catch (Exception failure)
        {
            return Call.Fail(error, failure);
        }
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int Tokenize(ulong engine, byte* text, int* tokens, nuint capacity, nuint* count, ErrorInfo* error)
    {
        try
        {
            Call.Begin(error);
            Caller.Write<int>(Handles.Get<EngineItem>(engine).Engine.Tokenizer.Encode(Caller.Read(text, "text")), tokens, capacity, count);
            return Call.Done(error);
        }
        catch (Exception failure)
        {
            return Call.Fail(error, failure);
        }
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int Detokenize(ulong engine, int* tokens, nuint tokenCount, byte* text, nuint capacity, nuint* count, ErrorInfo* error)
    {
        try
        {
            Call.Begin(error);
            Caller.Write(
                Handles.Get<EngineItem>(engine).Engine.Tokenizer.Decode(Caller.Read(tokens, tokenCount, "tokens"), skipSpecialTokens: true), text, capacity, count);
            return Call.Done(error);
        }
        catch (Exception failure)
        {
            return Call.Fail(error, failure);
        }
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int LoadImage(ulong engine, byte* path, byte* aspect, ulong* image, ErrorInfo* error)
    {
        try
        {
            Call.Begin(error);
            (Engine.Generation.Engine model, ImageAspect how) = Target(engine, aspect, image);
            string name = Caller.Read(path, "path");
            if (name.Length == 0)
                throw new CallException(Status.InvalidArgument, "path is empty");
            *image = Handles.Add(new ImageItem(model.PrepareImage(ImageDecoder.Load(name), how)));
            return Call.Done(error);
        }
        catch (Exception failure)
        {
            return Call.Fail(error, failure);
        }
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int DecodeImage(ulong engine, byte* bytes, nuint size, byte* aspect, ulong* image, ErrorInfo* error)
    {
        try
        {
            Call.Begin(error);
            (Engine.Generation.Engine model, ImageAspect how) = Target(engine, aspect, image);
            *image = Handles.Add(new ImageItem(model.PrepareImage(ImageDecoder.Decode(Caller.Read(bytes, size, "bytes")), how)));
            return Call.Done(error);
        }
        catch (Exception failure)
        {
            return Call.Fail(error, failure);
        }
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int TakePixels(ulong engine, byte* pixels, int width, int height, byte* aspect, ulong* image, ErrorInfo* error)
    {
        try
        {
            Call.Begin(error);
            (Engine.Generation.Engine model, ImageAspect how) = Target(engine, aspect, image);
            long most = ImageLimits.Default.MaxPixels;
            if (width < 1 || height < 1 || (long)width * height > most)
                throw new CallException(Status.InvalidArgument, $"a picture of {width} × {height} pixels; sides must be at least 1, and all at most {most} pixels");
            var picture = new RgbImage(width, height, Caller.Read(pixels, (nuint)width * (nuint)height * 3, "pixels").ToArray());
            *image = Handles.Add(new ImageItem(model.PrepareImage(picture, how)));
            return Call.Done(error);
        }
        catch (Exception failure)
        {
            return Call.Fail(error, failure);
        }
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int TakeEmbeddings(ulong engine, float* rows, nuint count, ulong* image, ErrorInfo* error)
    {
        try
        {
            Call.Begin(error);
            Call.Require(image, "image");
            *image = 0;
            Engine.Generation.Engine model = Handles.Get<EngineItem>(engine).Engine;
            *image = Handles.Add(new ImageItem(model.PrepareEmbeddings(Caller.Read(rows, count, "rows"))));
            return Call.Done(error);
        }
        catch (Exception failure)
        {
            return Call.Fail(error, failure);
        }
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    public static int CloseImage(ulong image, ErrorInfo* error)
    {
        try
        {
            Call.Begin(error);
            Handles.Close<ImageItem>(image);
            return Call.Done(error);
        }
        catch (Exception failure)
        {
            return Call.Fail(error, failure);
        }
    }

    // What a picture is made ready for, and how.
    private static (Engine.Generation.Engine Model, ImageAspect Aspect) Target(ulong engine, byte* aspect, ulong* image)
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
        return (model, how);
    }
}
