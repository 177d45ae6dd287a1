using System.Text.Json;
using ParVts.Engine.Text;

namespace ParVts.Engine.Tests.Text;

/// <summary>Chat templates against transformers' rendering, and the limits of the interpreter.</summary>
public class ChatTemplateTests
{
    [TestCaseSource(nameof(Families))]
    public void Rendering_equals_transformers(string file)
    {
        JsonElement family = JsonDocument.Parse(File.ReadAllText(file)).RootElement;
        ChatTemplate own = ChatTemplate.Parse(family.GetProperty("chat_template").GetString()!, file);
        string name = Path.GetFileNameWithoutExtension(file);
        ChatTemplate? builtIn = ChatTemplate.BuiltInNames.Contains(name) ? ChatTemplate.BuiltIn(name) : null;
        int cases = 0;
        Assert.Multiple(() =>
        {
            foreach (JsonElement entry in family.GetProperty("cases").EnumerateArray())
            {
                string label = entry.GetProperty("name").GetString()!;
                ChatMessage[] messages = [.. entry.GetProperty("messages").EnumerateArray().Select(Message)];
                bool prompt = entry.GetProperty("add_generation_prompt").GetBoolean();
                string? expected = entry.GetProperty("rendered").GetString();
                cases++;
                Assert.That(own.Render(messages, prompt), Is.EqualTo(expected), label);
                Assert.That(builtIn?.Render(messages, prompt), Is.EqualTo(expected), label + ", built in");
                IReadOnlyList<RenderedSegment> segments = own.RenderSegments(messages, prompt);
                Assert.That(string.Concat(segments.Select(segment => segment.Text)), Is.EqualTo(expected), label + ", segments");
                Assert.That(
                    segments.Where(segment => segment.IsUserText).Select(segment => segment.Text),
                    Is.EqualTo(messages.SelectMany(m => m.Content).Where(part => !part.IsImage && part.Text.Length > 0).Select(part => part.Text)),
                    label + ", user texts");
            }
        });
        Assert.That(cases, Is.GreaterThan(0));
    }

    [Test]
    public void Vicuna_v1_has_its_system_prompt_before_the_image()
    {
        ChatTemplate template = ChatTemplate.BuiltIn("vicuna_v1");
        ChatMessage user = new("user", [ChatPart.Image, ChatPart.OfText("What is this?")]);
        string one = template.Render([user]);
        Assert.That(one, Is.EqualTo(
            "A chat between a curious human and an artificial intelligence assistant. The assistant gives helpful, detailed, "
            + "and polite answers to the human's questions. USER: <image>\nWhat is this? ASSISTANT:"));
        string two = template.Render([user, new("assistant", [ChatPart.OfText("A cat.")]), new("user", [ChatPart.OfText("Sure?")])]);
        Assert.That(two, Does.EndWith("USER: <image>\nWhat is this? ASSISTANT: A cat.</s>USER: Sure? ASSISTANT:"));
        Tokenizer tokenizer = Tokenizer.Load(TestData.Golden("tokenizers/llama-legacy"));

        // With Llama's own vocabulary 35 tokens stand before the image; this one (Mistral's) needs one fewer.
        Assert.That(Array.IndexOf(tokenizer.Encode(one), tokenizer.TokenToId("<image>")!.Value), Is.EqualTo(34));
    }

    [TestCase("{% for m in messages %}{{ m.role }}{% if not loop.last %},{% endif %}{% endfor %}", "user,assistant")]
    [TestCase("{%- set ns = namespace(n=0) -%} {%- for m in messages -%} {% set ns.n = ns.n + 1 %} {%- endfor -%} {{ ns.n }}", "2")]
    [TestCase("{{ messages[::-1][0]['role'] | upper }}{{ messages[-1].role.title is defined }}", "ASSISTANTFalse")]
    [TestCase("a\n    {% if true %}\nb\n    {% endif %}\nc", "a\nb\nc")]
    [TestCase("{{ 'x' if messages | length > 1 else 'y' }}{{ ' a b '.strip().split(' ') | join('-') }}", "xa-b")]
    [TestCase("{{ none is none and 3 // 2 == 1 and -3 % 2 == 1 and 'b' in 'abc' and 'x' not in ['y'] }}", "True")]
    [TestCase("{# note #}{{ missing }}{{ missing | default('d') }}{{ {'k': 'v'}['k'] }}", "dv")]
    public void The_subset_of_Jinja(string jinja, string expected)
    {
        ChatMessage[] messages = [new("user", [ChatPart.OfText("hi")]), new("assistant", [ChatPart.OfText("ho")])];
        Assert.That(ChatTemplate.Parse(jinja, "test").Render(messages), Is.EqualTo(expected));
    }

    [TestCase("{% macro x() %}{% endmacro %}", "macro")]
    [TestCase("{{ x | tojson }}", "tojson")]
    [TestCase("{% if x %}", "endif")]
    [TestCase("{{ 'abc", "not closed")]
    [TestCase("{% for i in range(10000) %}{% for j in range(10000) %}{% endfor %}{% endfor %}", "runs for too long")]
    [TestCase("{% set ns = namespace(s='xxxxxxxxxx') %}{% for i in range(100) %}{% set ns.s = ns.s + ns.s %}{% endfor %}", "too long")]
    public void What_is_not_supported_or_runs_away_is_named(string jinja, string expected)
    {
        Assert.That(
            () => ChatTemplate.Parse(jinja, "test").Render([]),
            Throws.InstanceOf<ModelFormatException>().With.Message.Contains(expected));
    }

    [Test]
    public void Deep_nesting_is_refused_not_crashed_on()
    {
        foreach (string jinja in new[]
        {
            "{{ " + new string('(', 100_000), "{{ " + string.Concat(Enumerable.Repeat("not ", 100_000)) + "x }}",
            "{{ " + string.Concat(Enumerable.Repeat("x + ", 100_000)) + "x }}", "{{ " + new string('-', 100_000) + "1 }}",
            string.Concat(Enumerable.Repeat("{% if x %}", 50_000)),
        })
        {
            Assert.That(() => ChatTemplate.Parse(jinja, "test"), Throws.InstanceOf<ModelFormatException>());
        }
    }

    [Test]
    public void A_template_can_refuse_and_an_unknown_name_lists_the_known()
    {
        Assert.That(
            () => ChatTemplate.BuiltIn("llava-next").Render([new ChatMessage("tool", [ChatPart.OfText("x")])]),
            Throws.InstanceOf<RequestException>().With.Message.Contains("Only user and assistant"));
        Assert.That(() => ChatTemplate.BuiltIn("llama"), Throws.InstanceOf<RequestException>().With.Message.Contains("vicuna_v1"));
    }

    private static ChatMessage Message(JsonElement message)
    {
        JsonElement content = message.GetProperty("content");
        if (content.ValueKind == JsonValueKind.String)
            return new ChatMessage(message.GetProperty("role").GetString()!, [ChatPart.OfText(content.GetString()!)]);
        return new ChatMessage(
            message.GetProperty("role").GetString()!,
            [.. content.EnumerateArray().Select(part => part.GetProperty("type").GetString() == "image"
                ? ChatPart.Image
                : ChatPart.OfText(part.GetProperty("text").GetString()!))]);
    }

    private static IEnumerable<TestCaseData> Families()
    {
        string? root = TestData.FindGolden("chat");
        foreach (string file in root is null ? [] : Directory.GetFiles(root, "*.json").Order().ToArray())
            yield return new TestCaseData(file).SetArgDisplayNames(Path.GetFileNameWithoutExtension(file));
    }
}
