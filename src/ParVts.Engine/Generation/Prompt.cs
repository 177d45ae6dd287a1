using System.Security.Cryptography;
using ParVts.Engine.Formats;

namespace ParVts.Engine.Generation;

/// <summary>A picture as the model takes it. Immutable; any thread; one may serve many prompts.</summary>
public sealed class PromptImage
{
    internal PromptImage(float[] pixels)
    {
        Pixels = pixels;
        Hash = SHA256.HashData(System.Runtime.InteropServices.MemoryMarshal.AsBytes<float>(pixels));
    }

    /// <summary>pixel_values [3, H, W]: resized, cropped and normalised.</summary>
    public ReadOnlyMemory<float> Pixels { get; }

    /// <summary>Tells pictures apart, so that the cache of an earlier turn is used only for the same ones.</summary>
    internal byte[] Hash { get; }
}

/// <summary>
/// A whole prompt as the decoder sees it: token ids with every image token in place, and the pictures. Immutable; any
/// thread.
/// </summary>
public sealed class Prompt
{
    private readonly int[] _ids;
    private readonly int[] _imageStarts;

    private Prompt(int[] ids, int[] imageStarts, PromptImage[] images, int tokensPerImage)
    {
        _ids = ids;
        _imageStarts = imageStarts;
        Images = images;
        TokensPerImage = tokensPerImage;
    }

    /// <summary>The ids; the image token's id stands in each visual row.</summary>
    public ReadOnlySpan<int> Ids => _ids;

    /// <summary>The pictures, in the order of their tokens.</summary>
    public IReadOnlyList<PromptImage> Images { get; }

    /// <summary>The row at which each picture's tokens begin.</summary>
    public ReadOnlySpan<int> ImageStarts => _imageStarts;

    /// <summary>Visual tokens of each picture.</summary>
    public int TokensPerImage { get; }

    /// <summary>Rows: ids after image tokens were expanded.</summary>
    public int Length => _ids.Length;

    /// <summary>
    /// Puts each picture's tokens in place of its one image id. Ids in which that was done already are taken as they
    /// are.
    /// </summary>
    /// <exception cref="RequestException">The prompt is empty, an id is outside the vocabulary, or pictures and image ids do not match.</exception>
    internal static Prompt Create(ReadOnlySpan<int> ids, IReadOnlyList<PromptImage> images, ModelConfig config)
    {
        if (ids.Length == 0)
            throw new RequestException("the prompt is empty: give a text or an image");
        foreach (int id in ids)
        {
            if ((uint)id >= (uint)config.Text.VocabularySize)
                throw new RequestException($"token id {id} is outside the model's vocabulary of {config.Text.VocabularySize}");
        }

        int perImage = config.VisualTokensPerImage;
        int placeholders = ids.Count(config.ImageTokenId);
        bool expanded = placeholders == (long)images.Count * perImage && perImage > 1;
        if (!expanded && placeholders != images.Count)
        {
            throw new RequestException(
                $"the prompt has {placeholders} image placeholder(s) but {images.Count} image(s) were given; "
                + "each image needs exactly one placeholder");
        }

        int[] expandedIds = new int[ids.Length + (expanded ? 0 : images.Count * (perImage - 1))];
        int[] starts = new int[images.Count];
        int length = 0;
        int image = 0;
        for (int i = 0; i < ids.Length; i++)
        {
            if (ids[i] != config.ImageTokenId)
            {
                expandedIds[length++] = ids[i];
                continue;
            }

            starts[image++] = length;
            expandedIds.AsSpan(length, perImage).Fill(config.ImageTokenId);
            length += perImage;
            if (!expanded)
                continue;
            if (i + perImage > ids.Length || ids.Slice(i, perImage).ContainsAnyExcept(config.ImageTokenId))
                throw new RequestException($"the image tokens at row {i} are not {perImage} in a row");
            i += perImage - 1;
        }

        return new Prompt(expandedIds, starts, [.. images], perImage);
    }
}
