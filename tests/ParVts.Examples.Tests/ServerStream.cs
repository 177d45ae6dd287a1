using System.Net;
using System.Text;
using System.Text.Json;

namespace ParVts.Examples.Tests;

/// <summary>A streamed response, event by event. Disposing it in the middle is leaving.</summary>
internal sealed class ServerStream : IDisposable
{
    private readonly HttpResponseMessage _response;
    private readonly StreamReader _lines;

    public ServerStream(HttpResponseMessage response)
    {
        _response = response;

        // Malformed UTF-8 is an error here, not a replacement character.
        _lines = new StreamReader(response.Content.ReadAsStream(), new UTF8Encoding(false, throwOnInvalidBytes: true));
    }

    public HttpStatusCode Status => _response.StatusCode;

    public string? ContentType => _response.Content.Headers.ContentType?.MediaType;

    /// <summary>The next event's data; null at the end of the stream.</summary>
    public async Task<string?> Next()
    {
        string? line = await _lines.ReadLineAsync();
        if (line is null)
            return null;
        Assert.That(line, Does.StartWith("data: "));
        Assert.That(await _lines.ReadLineAsync(), Is.Empty, "an event ends with an empty line");
        return line["data: ".Length..];
    }

    /// <summary>All that is left of the stream, or of a response that is none.</summary>
    public Task<string> Rest() => _lines.ReadToEndAsync();

    /// <summary>Reads to the end.</summary>
    public async Task<StreamedAnswer> Read()
    {
        Assert.That(Status, Is.EqualTo(HttpStatusCode.OK));
        Assert.That(ContentType, Is.EqualTo("text/event-stream"));
        var chunks = new List<JsonElement>();
        while (await Next() is string data)
        {
            if (data == "[DONE]")
            {
                Assert.That(await Next(), Is.Null, "[DONE] is the last");
                return new StreamedAnswer(chunks, true);
            }

            chunks.Add(JsonDocument.Parse(data).RootElement);
        }

        return new StreamedAnswer(chunks, false);
    }

    public void Dispose()
    {
        _lines.Dispose();
        _response.Dispose();
    }
}

/// <summary>A stream that was read to its end.</summary>
/// <param name="Chunks">Its events' objects.</param>
/// <param name="Done">It ended with [DONE].</param>
internal sealed record StreamedAnswer(IReadOnlyList<JsonElement> Chunks, bool Done)
{
    /// <summary>The pieces of the answer.</summary>
    public IEnumerable<string> Pieces => Choices.Select(choice => choice.GetProperty("delta")).Where(delta => delta.TryGetProperty("content", out _))
        .Select(delta => delta.GetProperty("content").GetString()!);

    /// <summary>The answer.</summary>
    public string Text => string.Concat(Pieces);

    /// <summary>Why it ended.</summary>
    public string? Finish => Choices.Last().GetProperty("finish_reason").GetString();

    /// <summary>The choices of all chunks that have one.</summary>
    public IEnumerable<JsonElement> Choices => Chunks.Where(chunk => chunk.TryGetProperty("choices", out JsonElement choices) && choices.GetArrayLength() > 0)
        .Select(chunk => chunk.GetProperty("choices")[0]);
}
