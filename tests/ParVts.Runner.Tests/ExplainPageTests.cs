using System.Globalization;
using OpenQA.Selenium;
using ParVts.Runner.Explaining;

namespace ParVts.Runner.Tests;

/// <summary>The page of <c>parvts explain</c>, as a browser shows it.</summary>
public sealed class ExplainPageTests
{
    private const string Hostile = "</script><script>window.owned = 1</script><!--<script><img src=x onerror=\"window.owned = 2\">&amp;\u2028'\ud83d /*style*/";

    private Browser? _browser;

    private Browser Page => _browser!;

    [OneTimeSetUp]
    public void Start() => _browser = Browser.Start();

    [OneTimeTearDown]
    public void Stop() => _browser?.Dispose();

    [SetUp]
    public void Settle()
    {
        Page.Resize(1400, 900);
        Page.Prefer("light");
    }

    [TestCase("ParVts")]
    [TestCase("Pyramid")]
    [TestCase("Merged")]
    [TestCase("Dense")]
    public void LoadsNothingAndSaysNothing(string sample)
    {
        string path = Open(Sample(sample));
        Assert.That(Page.Find("#heat").Enabled, Is.EqualTo(sample is "ParVts" or "Pyramid"), "there are scores of visual tokens to show");
        if (Page.Find("#heat").Enabled)
            Page.Find("#heat").SendKeys(Keys.Space);
        Slide(Keys.ArrowRight, 4);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(Page.ConsoleMessages(), Is.Empty);
            Assert.That(Page.Requests().Where(address => !address.StartsWith("data:")), Is.EqualTo([new Uri(path).AbsoluteUri]));
            Assert.That(Page.FindAll("tbody tr"), Has.Count.EqualTo(ExplainSample.Layers));
        }
    }

    [Test]
    public void SliderShowsTheTokensOfItsLayer()
    {
        Open(ExplainSample.ParVts());
        byte[] split = Page.Photograph("layer-0");
        using (Assert.EnterMultipleScope())
        {
            Assert.That(Cells("subject"), Is.EqualTo(ExplainSample.Kept));
            Assert.That(Cells("rest"), Is.EqualTo(ExplainSample.Tokens - ExplainSample.Kept));
            Assert.That(Page.Find("#layer-name").Text, Is.EqualTo("Entry of layer 0"));
        }

        Slide(Keys.ArrowRight, ExplainSample.Migrate);
        byte[] fused = Page.Photograph("layer-3");
        using (Assert.EnterMultipleScope())
        {
            Assert.That(Cells("alive"), Is.EqualTo(ExplainSample.Kept));
            Assert.That(Cells("gone"), Is.EqualTo(ExplainSample.Tokens - ExplainSample.Kept));
            Assert.That(Cells("subject") + Cells("rest"), Is.Zero);
            Assert.That(Page.Find("#layer-name").Text, Is.EqualTo("Entry of layer 3"));
            Assert.That(Page.Find("tr.now th").Text, Is.EqualTo("3 – 31"), "layers that cost the same share a row");
            Assert.That(fused, Is.Not.EqualTo(split));
        }

        Page.Find("#every").SendKeys(Keys.Space);
        Assert.That(Page.Find("tr.now th").Text, Is.EqualTo("3"));
        Slide(Keys.End, 1);
        Assert.That(Page.Find("#layer-name").Text, Is.EqualTo("After layer 31"));
    }

    [TestCase("ParVts")]
    [TestCase("Pyramid")]
    [TestCase("Merged")]
    [TestCase("Dense")]
    public void EveryLayerShowsTheStatesOfTheTrace(string sample)
    {
        ExplainData data = Sample(sample);
        Open(data);
        string[] names = ["alive", "subject", "rest", "gone"];
        for (int layer = 0; layer <= ExplainSample.Layers; layer++)
        {
            string shown = Page.Run<string>(
                "const s = document.getElementById('layer'); s.value = arguments[0]; s.dispatchEvent(new Event('input'));"
                + "return [...document.querySelectorAll('.token')].map(c => c.classList[1]).join(' ');",
                layer);
            Assert.That(shown, Is.EqualTo(string.Join(' ', TokenStates.At(data, layer).Select(state => names[(int)state]))), $"layer {layer}");
        }
    }

    [Test]
    public void RowsThatAreNoPatchAreCounted()
    {
        Open(ExplainSample.Merged());
        Page.Photograph("merged", wholePage: true);
        int rows = 1 + ExplainSample.Dominant + ExplainSample.Contextual;
        using (Assert.EnterMultipleScope())
        {
            Assert.That(Cells("alive"), Is.EqualTo(ExplainSample.Dominant));
            Assert.That(Page.Find("#layer-state").Text, Does.StartWith($"{rows} of 576 "));
            Assert.That(Page.Find("#legend").Text, Does.Match($"no patch: merged, or the class token’s\\s+{1 + ExplainSample.Contextual}\\b"));
            Assert.That(Page.Find("#events").Text, Does.Contain("Measure").And.Contain("Merge").And.Contain($"576 visual tokens become {rows}."));
        }
    }

    [Test]
    public void ScoresCanBeShownAndTokensRead()
    {
        Open(ExplainSample.ParVts());
        byte[] plain = Page.Photograph("scores-off");
        Page.Find("#heat").SendKeys(Keys.Space);
        Assert.That(Page.Photograph("scores-on"), Is.Not.EqualTo(plain));
        Page.Find("#tokens-0").SendKeys(Keys.ArrowDown + Keys.ArrowRight + Keys.ArrowRight);
        string note = Page.Find("#tip").Text;
        using (Assert.EnterMultipleScope())
        {
            Assert.That(Page.FindAll(".ramp:not([hidden])"), Has.Count.EqualTo(1));
            Assert.That(note, Does.Contain("Token 26").And.Contain("Path B").And.Contain("dropped at layer 3").And.Contain("rank"));
            Assert.That(Page.Find("#token-26").GetAttribute("aria-label"), Does.Contain("Token 26"));
        }

        Page.Photograph("token-note");
        Page.Prefer("dark");
        Slide(Keys.ArrowRight, ExplainSample.Migrate);
        Page.Find("#every").SendKeys(Keys.Space);
        Page.Photograph("scores-dark", wholePage: true);
    }

    [Test]
    public void LayersOfEventsAndOfTheTableCanBeChosen()
    {
        Open(ExplainSample.Pyramid());
        Page.FindAll("#events .jump")[1].SendKeys(Keys.Enter);
        Assert.That(Cells("alive"), Is.EqualTo(144));
        Page.Find("#every").SendKeys(Keys.Space);
        Page.Find("#cost-30 .jump").SendKeys(Keys.Enter);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(Cells("gone"), Is.EqualTo(2 * ExplainSample.Tokens));
            Assert.That(Page.Find("#layer").GetAttribute("aria-valuetext"), Does.StartWith("Entry of layer 30"));
        }
    }

    [Test]
    public void TotalsAreThoseOfTheLayers()
    {
        ExplainData data = ExplainSample.ParVts();
        Open(data);
        long rows = data.Layers.Sum(layer => layer.Rows);
        double share = (double)data.Layers.Sum(layer => layer.Flops) / data.Layers.Sum(layer => layer.Dense.Flops);
        string cells = Page.Find("tfoot").Text;
        using (Assert.EnterMultipleScope())
        {
            Assert.That(cells, Does.Contain(rows.ToString("N0", CultureInfo.InvariantCulture)));
            Assert.That(cells, Does.Contain(string.Create(CultureInfo.InvariantCulture, $"{100 * share:0.0} %")));
        }
    }

    [Test]
    public void TextsStayTexts()
    {
        ExplainData data = ExplainSample.ParVts();
        Open(data with
        {
            Model = Hostile,
            Policy = Hostile,
            Device = Hostile,
            Question = Hostile,
            Answer = Hostile,
            DenseAnswer = Hostile,
            Top = [new(Hostile, 1)],
            Images = [data.Images[0] with { Name = Hostile }],
            Events = [.. data.Events.Select(done => done with { Score = Hostile, Note = Hostile })],
        });
        // A half of a surrogate pair is no character; what stands for such halves is U+FFFD.
        string shown = Hostile.Replace('\ud83d', '\ufffd');
        using (Assert.EnterMultipleScope())
        {
            Assert.That(Page.ConsoleMessages(), Is.Empty);
            Assert.That(Page.Run<bool>("return window.owned === undefined"), Is.True);
            Assert.That(Page.FindAll("script"), Has.Count.EqualTo(2));
            foreach (string place in new[] { "h1", ".answer blockquote", "#facts dd" })
                Assert.That(Page.Run<string>("return document.querySelector(arguments[0]).textContent", place), Is.EqualTo(shown), place);
            Assert.That(Overflow(360), Is.Zero);
        }
    }

    [TestCase("light")]
    [TestCase("dark")]
    public void TextHasContrast(string scheme)
    {
        Page.Prefer(scheme);
        Open(ExplainSample.Pyramid());
        Page.Find("#heat").SendKeys(Keys.Space);
        var faint = Page.Run<IReadOnlyCollection<object>>(ContrastScript);
        Page.Photograph($"whole-{scheme}", wholePage: true);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(faint, Is.Empty);
            Assert.That(Page.Run<bool>("return matchMedia('(prefers-color-scheme: dark)').matches"), Is.EqualTo(scheme == "dark"));
        }
    }

    [TestCase("ParVts", 360)]
    [TestCase("ParVts", 1400)]
    [TestCase("Pyramid", 360)]
    [TestCase("Pyramid", 800)]
    [TestCase("Pyramid", 1000)]
    [TestCase("Dense", 360)]
    public void NothingOverflows(string sample, int width)
    {
        Open(Sample(sample));
        Assert.That(Overflow(width), Is.Zero);
        Page.Photograph($"{sample}-{width}", wholePage: true);
    }

    [Test]
    public void PrintsOnPaperWithoutControls()
    {
        Page.Prefer("light", media: "print");
        Open(ExplainSample.ParVts());
        Assert.That(Overflow(720), Is.Zero);
        Page.Photograph("print", wholePage: true);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(Page.Find("#layer").Displayed, Is.False);
            Assert.That(Page.Find("#strip").Displayed, Is.True);
            Assert.That(Page.Find(".tokens").Displayed, Is.True);
        }
    }

    [Test]
    public void ShowsARealRun()
    {
        DemoQuestion question = DemoModel.Question("count");
        string path = Path.Combine(DemoModel.Scratch, "real.html");
        Outcome outcome = Parvts.Run(
            "explain", "--model", DemoModel.Model, "--image", question.Image, "--prompt", question.Text,
            "--policy", "parvts:keep=36,migrate=3,fuse=lse", "--out", path);
        Assert.That(outcome.Code, Is.Zero, outcome.Errors);
        Page.Open(path);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(Page.ConsoleMessages(), Is.Empty);
            Assert.That(Page.Find("h1").Text, Is.EqualTo(question.Text));
            Assert.That(Page.Find(".answer blockquote").Text, Is.EqualTo(outcome.Output.Trim()));
            Assert.That(Cells("subject"), Is.EqualTo(36));
            Assert.That(Page.FindAll(".weights i"), Is.Not.Empty);
        }

        Slide(Keys.ArrowRight, 3);
        Assert.That(Cells("alive"), Is.EqualTo(36));
        Page.Photograph("real", wholePage: true);
    }

    private static ExplainData Sample(string name) => name switch
    {
        "ParVts" => ExplainSample.ParVts(),
        "Pyramid" => ExplainSample.Pyramid(),
        "Merged" => ExplainSample.Merged(),
        _ => ExplainSample.Dense(),
    };

    private string Open(ExplainData data)
    {
        string path = Path.Combine(DemoModel.Scratch, "explain.html");
        ExplainReport.Save(data, path);
        Page.Open(path);
        return path;
    }

    private void Slide(string key, int times)
    {
        IWebElement slider = Page.Find("#layer");
        for (int i = 0; i < times; i++)
            slider.SendKeys(key);
    }

    private int Cells(string state) => Page.FindAll(".token." + state).Count;

    /// <summary>By how many pixels the page is wider than the window.</summary>
    private long Overflow(int width)
    {
        Page.Resize(width, 900);
        return Page.Run<long>("return document.documentElement.scrollWidth - arguments[0]", width);
    }

    /// <summary>
    /// Every visible text whose contrast with what is behind it is below 4.5 (WCAG 2, AA), by its luminance formula. Texts
    /// of controls that cannot be used are left out, as there.
    /// </summary>
    private const string ContrastScript = """
        const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
        const parse = colour => {
            canvas.clearRect(0, 0, 1, 1);
            canvas.fillStyle = colour;
            canvas.fillRect(0, 0, 1, 1);
            const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
            return [r, g, b, a / 255];
        };
        const over = (top, under) => top.slice(0, 3).map((c, i) => c * top[3] + under[i] * (1 - top[3]));
        const behind = element => {
            const layers = [];
            for (let at = element; at !== null; at = at.parentElement) layers.push(parse(getComputedStyle(at).backgroundColor));
            return layers.reverse().reduce((under, top) => over(top, under), [255, 255, 255]);
        };
        const luminance = colour => colour.map(c => c / 255).map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
            .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
        const faint = [];
        const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
        let seen = 0;
        for (let node = walk.nextNode(); node !== null; node = walk.nextNode()) {
            const parent = node.parentElement;
            if (node.data.trim() === '' || !parent.checkVisibility() || parent.closest('script, style')) continue;
            seen++;
            const under = behind(parent), text = over(parse(getComputedStyle(parent).color), under);
            const [high, low] = [luminance(text), luminance(under)].sort((a, b) => b - a);
            const contrast = (high + 0.05) / (low + 0.05);
            if (contrast < 4.5) faint.push(`${contrast.toFixed(2)}: ${node.data.trim().slice(0, 40)}`);
        }
        return seen > 100 ? faint : ['too few texts were seen'];
        """;
}
