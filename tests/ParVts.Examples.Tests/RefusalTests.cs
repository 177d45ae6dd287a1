using System.Net;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace ParVts.Examples.Tests;

/// <summary>Requests that cannot be served: each gets its status and a message in OpenAI's form, and the server goes on.</summary>
public sealed class RefusalTests
{
    private const int MaxBody = 1_000_000;

    private Server _server = null!;

    [OneTimeSetUp]
    public void Start() => _server = Server.Start("--max-body", $"{MaxBody}", "--max-images", "3", "--max-pixels", "1000000");

    [OneTimeTearDown]
    public void Stop() => _server.Dispose();

    [TestCaseSource(nameof(Bodies))]
    public async Task ABadBodyIsRefused(string body, int status, string code, string message, string? parameter)
    {
        (HttpStatusCode answered, string text, HttpResponseMessage response) = await _server.Post(body);
        Assert.That(response.Content.Headers.ContentType?.MediaType, Is.EqualTo("application/json"), text);
        JsonElement error = JsonDocument.Parse(text).RootElement.GetProperty("error");
        using (Assert.EnterMultipleScope())
        {
            Assert.That((int)answered, Is.EqualTo(status), text);
            Assert.That(error.GetProperty("code").GetString(), Is.EqualTo(code), text);
            Assert.That(error.GetProperty("type").GetString(), Is.EqualTo("invalid_request_error"));
            Assert.That(error.GetProperty("message").GetString(), Does.Contain(message).IgnoreCase);
            Assert.That(error.GetProperty("param").GetString(), Is.EqualTo(parameter));
            Assert.That(text, Does.Not.Contain("   at ").And.Not.Contain("System.").And.Not.Contain("ChatServer"), "no entrails");
        }

        await StillAnswers();
    }

    private static IEnumerable<TestCaseData> Bodies()
    {
        yield return Json("not JSON", "{\"messages\": [", "invalid_json", "JSON", null);
        yield return Json("nothing", "", "invalid_json", "JSON", null);
        yield return Json("deep JSON", string.Concat(Enumerable.Repeat("{\"metadata\":", 5000)) + "1" + new string('}', 5000), "invalid_json", "depth", null);
        yield return Json("half a character", "{\"messages\":[{\"role\":\"user\",\"content\":\"\\ud83d\"}]}", "invalid_type", "messages[0].content", "messages[0].content");
        yield return Json("a member twice", "{\"seed\":1,\"seed\":2}", "invalid_type", "twice", "seed");
        yield return Json("null", "null", "invalid_json", "object", null);
        yield return Json("a list", "[]", "invalid_type", "body", "the body");

        foreach ((string name, string value) in new[] { ("max_tokens", "\"many\""), ("max_tokens", "3.5"), ("max_tokens", "99999999999"), ("temperature", "\"hot\""), ("stream", "1"), ("seed", "1e400"), ("stop", "7"), ("stop", "[\"a\", 3]"), ("messages", "\"hello\""), ("policy", "{}"), ("stream_options", "true") })
            yield return Json($"{name} {value}", Request().With(name, JsonNode.Parse(value)).ToJsonString(), "invalid_type", name, name);
        yield return Json("content a number", Request().With("messages", JsonNode.Parse("[{\"role\":\"user\",\"content\":5}]")).ToJsonString(), "invalid_type", "content", "messages[0].content");
        yield return Json("a part's text a number", Of(JsonNode.Parse("{\"type\":\"text\",\"text\":5}")!).ToJsonString(), "invalid_type", "content", "messages[0].content");

        foreach ((string name, string value, string message) in new[] { ("n", "2", "one answer"), ("stop", "\"\"", "1 to"), ("stop", "[\"a\",\"b\",\"c\",\"d\",\"e\"]", "more than 4"), ("stop", "[null]", "1 to"), ("messages", "[]", "1 to 64"), ("tools", "[]", "not supported"), ("logprobs", "true", "not supported") })
            yield return Json($"{name} {value}", Request().With(name, JsonNode.Parse(value)).ToJsonString(), "invalid_value", message, name);
        yield return Json("65 messages", Request().With("messages", new JsonArray([.. Enumerable.Range(0, 65).Select(i => Demo.Turn("user", $"{i}"))])).ToJsonString(), "invalid_value", "1 to 64", "messages");
        yield return Json("no messages", "{\"model\":\"demo\"}", "invalid_value", "1 to 64", "messages");
        yield return Json("a message of null", Request().With("messages", JsonNode.Parse("[null]")).ToJsonString(), "invalid_value", "user", "messages[0].role");
        yield return Json("an unknown role", Request().With("messages", new JsonArray(Demo.Turn("tool", "5"))).ToJsonString(), "invalid_value", "assistant", "messages[0].role");
        yield return Json("the last is no user's", Request().With("messages", new JsonArray(Demo.Turn("user", "a"), Demo.Turn("assistant", "b"))).ToJsonString(), "invalid_value", "'user'", "messages");
        yield return Json("no content", Request().With("messages", JsonNode.Parse("[{\"role\":\"user\"}]")).ToJsonString(), "invalid_value", "content", "messages[0].content");
        yield return Json("no parts", Of().ToJsonString(), "invalid_value", "content", "messages[0].content");
        yield return Json("a part of null", Request().With("messages", JsonNode.Parse("[{\"role\":\"user\",\"content\":[null]}]")).ToJsonString(), "invalid_value", "image_url", "messages[0].content[0]");
        yield return Json("an unknown part", Of(JsonNode.Parse("{\"type\":\"input_audio\"}")!).ToJsonString(), "invalid_value", "image_url", "messages[0].content[0]");
        yield return Json("a picture of the system's", Request().With("messages", new JsonArray(Demo.Turn("system", Image(0)), Demo.Turn("user", "a"))).ToJsonString(), "invalid_value", "'user'", "messages[0].content[0]");
        yield return Json("four pictures", Of(Image(0), Image(1), Image(2), Image(3)).ToJsonString(), "invalid_value", "3 may be sent", "messages[0].content[3]");

        foreach (string url in new[] { "https://example.com/a.png", "http://169.254.169.254/latest", "file:///etc/passwd", "/etc/passwd", "data:image/png,abc", "data:text/plain;base64,QUJD", "" })
            yield return Json($"the URL '{url}'", Of(Demo.ImagePart(url)).ToJsonString(), "invalid_value", "data URI", "messages[0].content[0].image_url.url");
        yield return Json("broken base64", Of(Demo.ImagePart("data:image/png;base64,iVBORw0K*")).ToJsonString(), "invalid_value", "base64", "messages[0].content[0].image_url.url");
        yield return Json("cut base64", Of(Demo.ImagePart("data:image/png;base64,iVBOR")).ToJsonString(), "invalid_value", "base64", "messages[0].content[0].image_url.url");
        yield return Json("no picture", Of(Demo.ImagePart("data:image/png;base64,")).ToJsonString(), "invalid_image", "empty", "messages");
        yield return Json("text for a picture", Of(Demo.ImagePart(Demo.DataUri("a picture"u8.ToArray()))).ToJsonString(), "invalid_image", "no known picture format", "messages");
        yield return Json("half a picture", Of(Demo.ImagePart(Demo.DataUri(File.ReadAllBytes(Demo.Picture())[..200]))).ToJsonString(), "invalid_image", "PNG", "messages");
        yield return Json("a huge picture in few bytes", Of(Demo.ImagePart(Demo.DataUri(HugePng()))).ToJsonString(), "invalid_image", "60000 × 60000", "messages");

        yield return Json("an unknown policy", Request("prune-all").ToJsonString(), "invalid_policy", "there are: dense, parvts", "policy");
        yield return Json("an unknown parameter", Request("parvts:kep=3").ToJsonString(), "invalid_policy", "keep", "policy");
        yield return Json("a policy for deeper models", Request("vtw:layer=400").ToJsonString(), "invalid_policy", "layer", "policy");
        yield return Json("a long policy", Request("dense" + new string('+', 5000)).ToJsonString(), "invalid_value", "4096", "policy");
        foreach (string policy in new[] { "@/etc/passwd", "yopo:heads=/etc/passwd", "dyvte:routers=/etc/passwd", "covipal:scorer=/etc/passwd", "keep:tokens=@/etc/passwd", "vtw:layer=6+yopo:heads=/etc/passwd" })
            yield return Json($"the policy {policy}", Request(policy).ToJsonString(), "invalid_policy", "not allowed here", "policy");

        yield return Json("a negative temperature", Request().With("temperature", -1).ToJsonString(), "invalid_request", "temperature", null);
        yield return Json("a huge temperature", Request().With("temperature", 1e99).ToJsonString(), "invalid_request", "temperature", null);
        yield return Json("top_p 2", Request().With("top_p", 2).ToJsonString(), "invalid_request", "top-p", null);
        yield return Json("no tokens", Request().With("max_tokens", 0).ToJsonString(), "invalid_request", "at least 1", null);
        yield return Json("an empty text", Of(Demo.TextPart("")).ToJsonString(), "invalid_request", "empty", null);
        yield return Json("more than the context", Demo.Request(string.Concat(Enumerable.Repeat("red ", 3000))).ToJsonString(), "context_length_exceeded", "2048", "messages");
        yield return Json("far more than the context", Demo.Request(new string('a', 200_000)).ToJsonString(), "context_length_exceeded", "200000 characters", "messages");
        yield return Json("another model", Request().With("model", "gpt-4o").ToJsonString(), "model_not_found", "'demo'", "model", 404);
        yield return Json("a large body", Demo.Request(new string('a', 2 * MaxBody)).ToJsonString(), "request_too_large", "too large", null, 413);
    }

    [Test]
    public async Task BytesThatAreNoTextAreRefused()
    {
        var body = new ByteArrayContent([.. "{\"messages\":[{\"role\":\"user\",\"content\":\""u8, 0xff, 0xfe, .. "\"}]}"u8]);
        body.Headers.ContentType = new MediaTypeHeaderValue("application/json");
        (HttpStatusCode status, string text, _) = await _server.Post(body);
        Assert.That(status, Is.EqualTo(HttpStatusCode.BadRequest), text);
        Assert.That(text, Does.Contain("messages[0].content"));
        await StillAnswers();
    }

    // Else a page in somebody's browser could send requests: without a preflight only plain text may be sent.
    [Test]
    public async Task OnlyJsonIsTaken()
    {
        (HttpStatusCode status, string text, _) = await _server.Post(new StringContent(Request().ToJsonString(), Encoding.UTF8, "text/plain"));
        Assert.That(status, Is.EqualTo(HttpStatusCode.UnsupportedMediaType), text);
        Assert.That(text, Does.Contain("application/json"));
    }

    [TestCase("v1/completions", 404, "/v1/chat/completions")]
    [TestCase("v1/chat/completions", 405, "GET")]
    public async Task OtherPathsSayWhatThereIs(string path, int expected, string message)
    {
        (HttpStatusCode status, string text, _) = await _server.Get(path);
        Assert.That((int)status, Is.EqualTo(expected));
        Assert.That(JsonDocument.Parse(text).RootElement.GetProperty("error").GetProperty("message").GetString(), Does.Contain(message));
    }

    // A body whose length nobody says, in chunks.
    [Test]
    public async Task ALargeBodyInChunksIsRefused()
    {
        var body = new StreamContent(new MemoryStream(Encoding.UTF8.GetBytes(Demo.Request(new string('a', MaxBody + 5000)).ToJsonString())));
        body.Headers.ContentType = new MediaTypeHeaderValue("application/json");
        body.Headers.ContentLength = null;
        try
        {
            (HttpStatusCode status, _, _) = await _server.Post(body);
            Assert.That(status, Is.EqualTo(HttpStatusCode.RequestEntityTooLarge));
        }
        catch (HttpRequestException)
        {
            // The connection was closed while more was being sent: also a refusal.
        }

        await StillAnswers();
    }

    private async Task StillAnswers()
    {
        JsonElement answer = await _server.Ask(Demo.Request("a", maxTokens: 1));
        Assert.That(answer.GetProperty("usage").GetProperty("completion_tokens").GetInt32(), Is.EqualTo(1));
        await _server.Idle(TimeSpan.FromSeconds(1));
        Assert.That(_server.Errors, Is.Empty);
    }

    private static TestCaseData Json(string what, string body, string code, string message, string? parameter, int status = 400) =>
        new TestCaseData(body, status, code, message, parameter).SetArgDisplayNames(what);

    private static JsonObject Request(string policy = "dense") => Demo.Request("a", policy: policy, maxTokens: 1);

    private static JsonObject Of(params JsonNode[] parts) => Request().With("messages", new JsonArray(Demo.Turn("user", parts)));

    private static JsonObject Image(int number) => Demo.ImagePart(Demo.DataUri(Demo.Picture(number)));

    // All that a decoder must look at before it allocates: a header of 60000 × 60000 pixels in 8-bit RGB.
    private static byte[] HugePng()
    {
        byte[] file = File.ReadAllBytes(Demo.Picture())[..33];
        byte[] size = [0, 0, 0xEA, 0x60];
        size.CopyTo(file, 16);
        size.CopyTo(file, 20);
        uint crc = 0xFFFFFFFF;
        foreach (byte value in file.AsSpan(12, 17))
        {
            crc ^= value;
            for (int bit = 0; bit < 8; bit++)
                crc = (crc >> 1) ^ ((crc & 1) * 0xEDB88320);
        }

        System.Buffers.Binary.BinaryPrimitives.WriteUInt32BigEndian(file.AsSpan(29), ~crc);
        return file;
    }
}
