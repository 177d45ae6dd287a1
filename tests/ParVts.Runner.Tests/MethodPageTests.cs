using System.Text.Json;
using System.Text.RegularExpressions;
using ParVts.Engine.Scheduling;
using ParVts.Runner.Output;

namespace ParVts.Runner.Tests;

/// <summary>What is told about policies: the list, one policy, JSON and <c>docs/methods</c> say the same.</summary>
public sealed class MethodPageTests
{
    private static readonly string s_pages = Path.Combine(TestData.Root, "docs", "methods");

    private static IEnumerable<TestCaseData<PolicyInfo>> Policies() =>
        PolicyRegistry.All.Select(policy => new TestCaseData<PolicyInfo>(policy) { TestName = $"{{m}}({policy.Name})" });

    [Test]
    public void PagesAreThoseOfTheRegistry()
    {
        RequirePages();
        string folder = Scratch("all");
        Outcome outcome = Parvts.Run("policies", "--markdown", folder);
        Assert.That(outcome.Code, Is.Zero, outcome.Errors);
        Assert.That(Pages(s_pages).Keys, Is.EquivalentTo(Pages(folder).Keys));
        using (Assert.EnterMultipleScope())
        {
            foreach ((string name, string text) in Pages(folder))
                Assert.That(Pages(s_pages)[name], Is.EqualTo(text), $"docs/methods/{name}: './build.sh run policies --markdown docs/methods' writes it again");
        }
    }

    [TestCaseSource(nameof(Policies))]
    public void EveryWayTellsAll(PolicyInfo policy)
    {
        string folder = Scratch(policy.Name);
        PolicyPages.WriteMarkdown(folder, [policy]);
        string markdown = WithoutLinks(Pages(folder)[$"{policy.Name}.md"]);
        JsonElement json = s_json.Value.EnumerateArray().Single(one => one.GetProperty("name").GetString() == policy.Name);
        string[] told =
        [
            policy.Page.Title, policy.Summary, policy.Page.Acts, policy.Page.Cache, policy.Page.Idea, policy.Page.Rule, policy.Page.Ours,
            policy.Source, policy.Page.Licence, policy.Page.Checked,
            .. policy.Parameters.SelectMany(parameter => new[] { parameter.Name, parameter.Default, parameter.Allowed, parameter.Summary }),
        ];
        Assert.That(told.Except(policy.Parameters.Select(parameter => parameter.Default)), Has.None.Empty);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(Squeezed(json.ToString()), Does.Contain(Squeezed(policy.Defaults)));
            foreach (string text in told)
            {
                Assert.That(Squeezed(PolicyPages.Text(policy)), Does.Contain(Squeezed(text)), "text");
                Assert.That(Squeezed(markdown), Does.Contain(Squeezed(text)), "Markdown");
                Assert.That(Strings(json).Select(Squeezed), Has.Some.EqualTo(Squeezed(text)), "JSON");
            }
        }
    }

    [TestCaseSource(nameof(Policies))]
    public void PageAndPolicyAgree(PolicyInfo policy)
    {
        VisualTokenPolicy made = PolicyRegistry.Create(policy.Defaults);
        Assert.That(policy.Page.CompactPositions, Is.EqualTo(made.CompactPositions), "positions");
    }

    [TestCaseSource(nameof(Policies))]
    public void EveryPolicyIsInThePictureAndTheReadme(PolicyInfo policy)
    {
        RequirePages();
        using (Assert.EnterMultipleScope())
        {
            Assert.That(File.ReadAllText(Path.Combine(s_pages, "overview.svg")), Does.Contain($">{policy.Name}<"));
            Assert.That(File.ReadAllText(Path.Combine(TestData.Root, "README.md")), Does.Contain($"(docs/methods/{policy.Name}.md)"));
        }
    }

    [Test]
    public void OneIsToldInFullAndAllInShort()
    {
        Outcome one = Parvts.Run("policies", "visipruner");
        Outcome all = Parvts.Run("policies");
        string[] lines = all.Output.ReplaceLineEndings("\n").Split('\n');
        using (Assert.EnterMultipleScope())
        {
            Assert.That(one.Output.ReplaceLineEndings("\n"), Is.EqualTo(PolicyPages.Text(PolicyRegistry.Find("visipruner"))));
            foreach (PolicyInfo policy in PolicyRegistry.All)
                Assert.That(lines, Has.Member(policy.Defaults).And.Member($"    {policy.Summary} [{policy.Source}]"));
        }
    }

    [TestCase("policies", "nosuch", "there is no policy 'nosuch'")]
    [TestCase("policies", "--markdown", "no/such/folder", "there is no such folder")]
    [TestCase("policies", "fastv", "--markdown", ".", "leave NAME out")]
    public void WrongUseIsRefused(params string[] lineAndError)
    {
        Outcome outcome = Parvts.Run(lineAndError[..^1]);
        Assert.That((outcome.Code, outcome.Output, outcome.Errors), Is.EqualTo((2, "", outcome.Errors)));
        Assert.That(outcome.Errors, Does.Contain(lineAndError[^1]));
    }

    private static readonly Lazy<JsonElement> s_json = new(() => Parvts.Run("policies", "--json").Json.GetProperty("policies"));

    private static string Scratch(string name) => Directory.CreateDirectory(Path.Combine(DemoModel.Scratch, "methods", name)).FullName;

    private static string WithoutLinks(string markdown) => Regex.Replace(markdown, @"\[(?<text>arXiv [\d.]+)\]\([^)]*\)", "${text}", RegexOptions.None, TimeSpan.FromSeconds(1));

    private static void RequirePages()
    {
        if (!Directory.Exists(s_pages))
            Assert.Ignore($"the project's pages are not here (looked in {s_pages})");
    }

    private static Dictionary<string, string> Pages(string folder) =>
        Directory.GetFiles(folder, "*.md").ToDictionary(file => Path.GetFileName(file), file => File.ReadAllText(file).ReplaceLineEndings("\n"));

    private static IEnumerable<string> Strings(JsonElement element) => element.ValueKind switch
    {
        JsonValueKind.Object => element.EnumerateObject().SelectMany(member => Strings(member.Value)),
        JsonValueKind.Array => element.EnumerateArray().SelectMany(Strings),
        JsonValueKind.String => [element.GetString()!],
        _ => [],
    };

    // Without the breaks between lines, which differ.
    private static string Squeezed(string text) => string.Join(' ', text.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries));
}
