using System.Runtime.InteropServices;
using System.Security.Cryptography;
using ParVts.Engine.Formats;

namespace ParVts.Engine.Generation;

/// <summary>
/// What fills a picture's place in a prompt: pixels as the vision tower takes them (<see cref="Engine.PrepareImage"/>), or ready-made
/// embeddings (<see cref="Engine.PrepareEmbeddings"/>). Immutable; any thread; one may serve many prompts.
/// </summary>
public sealed class PromptImage
{
    internal PromptImage(float[] pixels)
    {
        Pixels = pixels;
        Hash = SHA256.HashData(MemoryMarshal.AsBytes<float>(pixels));
    }

    private PromptImage(float[] embeddings, byte[] hash)
    {
        Embeddings = embeddings;
        Hash = hash;
    }

    /// <summary>pixel_values [3, H, W]: resized, cropped and normalised. Empty where the picture is given as embeddings.</summary>
    public ReadOnlyMemory<float> Pixels { get; }

    /// <summary>[tokens, hidden]: rows as they enter the decoder. Empty where the picture is given as pixels.</summary>
    public ReadOnlyMemory<float> Embeddings { get; }

    /// <summary>The rows are ready-made: vision tower and projector are skipped.</summary>
    public bool IsEmbedded => Pixels.IsEmpty;

    /// <summary>Tells pictures apart, so that the cache of an earlier turn is used only for the same ones.</summary>
    internal byte[] Hash { get; }

    /// <summary>A picture of ready-made rows.</summary>
    internal static PromptImage OfEmbeddings(float[] rows)
    {
        // Pixels of the same values are another picture.
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendData("embeddings"u8);
        hash.AppendData(MemoryMarshal.AsBytes<float>(rows));
        return new PromptImage(rows, hash.GetHashAndReset());
    }

    /// <summary>How many visual tokens it makes in a model: the one place that says so (contract D2).</summary>
    /// <exception cref="RequestException">It was prepared for a model of another shape.</exception>
    internal int TokensIn(ModelConfig config)
    {
        (int expected, int given) = IsEmbedded
            ? (Embeddings.Length / config.Text.HiddenSize * config.Text.HiddenSize, Embeddings.Length)
            : (3 * config.Vision.ImageSize * config.Vision.ImageSize, Pixels.Length);
        if (expected != given)
            throw new RequestException($"a picture of {given} values was prepared for another model: prepare it with the engine that answers");
        return IsEmbedded ? given / config.Text.HiddenSize : config.VisualTokensPerImage;
    }
}

/// <summary>
/// A whole prompt as the decoder sees it: token ids with every image token in place, and the pictures. Immutable; any
/// thread.
/// </summary>
public sealed class Prompt
{
    private readonly int[] _ids;
    private readonly int[] _imageStarts;
    private readonly int[] _imageTokens;

    private Prompt(int[] ids, int[] imageStarts, int[] imageTokens, PromptImage[] images, int tokensPerImage)
    {
        _ids = ids;
        _imageStarts = imageStarts;
        _imageTokens = imageTokens;
        Images = images;
        TokensPerImage = tokensPerImage;
    }

    /// <summary>The ids; the image token's id stands in each visual row.</summary>
    public ReadOnlySpan<int> Ids => _ids;

    /// <summary>The pictures, in the order of their tokens.</summary>
    public IReadOnlyList<PromptImage> Images { get; }

    /// <summary>The row at which each picture's tokens begin.</summary>
    public ReadOnlySpan<int> ImageStarts => _imageStarts;

    /// <summary>Visual tokens of each picture, in order.</summary>
    public ReadOnlySpan<int> ImageTokens => _imageTokens;

    /// <summary>Visual tokens of a picture that is given as pixels; of embeddings there may be any number.</summary>
    public int TokensPerImage { get; }

    /// <summary>Visual tokens of all pictures.</summary>
    public int VisualTokens => _imageTokens.Sum();

    /// <summary>Rows: ids after image tokens were expanded.</summary>
    public int Length => _ids.Length;

    /// <summary>
    /// Puts each picture's tokens in place of its one image id. Ids in which that was done already are taken as they
    /// are.
    /// </summary>
    /// <exception cref="RequestException">
    /// The prompt is empty, an id is outside the vocabulary, pictures and image ids do not match, or a picture is another model's.
    /// </exception>
    internal static Prompt Create(ReadOnlySpan<int> ids, IReadOnlyList<PromptImage> images, ModelConfig config)
    {
        if (ids.Length == 0)
            throw new RequestException("the prompt is empty: give a text or an image");
        foreach (int id in ids)
        {
            if ((uint)id >= (uint)config.Text.VocabularySize)
                throw new RequestException($"token id {id} is outside the model's vocabulary of {config.Text.VocabularySize}");
        }

        int[] tokens = [.. images.Select(image => image.TokensIn(config))];
        long visual = tokens.Sum(count => (long)count);
        int placeholders = ids.Count(config.ImageTokenId);
        bool expanded = placeholders == visual && visual != images.Count;
        if (!expanded && placeholders != images.Count)
        {
            throw new RequestException(
                $"the prompt has {placeholders} image placeholder(s) but {images.Count} image(s) were given; "
                + "each image needs exactly one placeholder");
        }

        long rows = ids.Length + (expanded ? 0 : visual - images.Count);
        if (rows > Array.MaxLength)
            throw new RequestException($"the prompt has {rows} tokens, more than any model takes: use fewer images");
        int[] expandedIds = new int[rows];
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

            int count = tokens[image];
            starts[image++] = length;
            expandedIds.AsSpan(length, count).Fill(config.ImageTokenId);
            length += count;
            if (!expanded)
                continue;
            if (i + count > ids.Length || ids.Slice(i, count).ContainsAnyExcept(config.ImageTokenId))
                throw new RequestException($"the image tokens at row {i} are not {count} in a row");
            i += count - 1;
        }

        return new Prompt(expandedIds, starts, tokens, [.. images], config.VisualTokensPerImage);
    }
}
