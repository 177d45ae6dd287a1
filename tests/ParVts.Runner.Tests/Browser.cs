using System.Text.Json;
using OpenQA.Selenium;
using OpenQA.Selenium.Chrome;

namespace ParVts.Runner.Tests;

/// <summary>
/// A headless Chromium: the one that PARVTS_CHROMIUM names, else /usr/bin/chromium, with the chromedriver beside it.
/// Where either is missing the calling test is skipped, by name. Nothing is downloaded.
/// </summary>
internal sealed class Browser : IDisposable
{
    private readonly string _profile = Directory.CreateTempSubdirectory("parvts-chromium-").FullName;
    private readonly ChromeDriver _driver;

    private Browser(string chromium, string driver)
    {
        // Selenium's own manager would look for browsers, drivers and updates on the network; both paths are given instead.
        Environment.SetEnvironmentVariable("SE_OFFLINE", "true");
        Environment.SetEnvironmentVariable("SE_AVOID_STATS", "true");
        var options = new ChromeOptions { BinaryLocation = chromium };
        options.AddArguments(
            "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage",
            "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
            "--user-data-dir=" + _profile);
        options.SetLoggingPreference(LogType.Browser, LogLevel.All);
        options.SetLoggingPreference(LogType.Performance, LogLevel.All);
        ChromeDriverService service = ChromeDriverService.CreateDefaultService(Path.GetDirectoryName(driver), Path.GetFileName(driver));
        service.SuppressInitialDiagnosticInformation = true;
        service.HideCommandPromptWindow = true;
        _driver = new ChromeDriver(service, options);
    }

    /// <summary>Starts one, or skips the test.</summary>
    public static Browser Start()
    {
        string chromium = Environment.GetEnvironmentVariable("PARVTS_CHROMIUM") is { Length: > 0 } named ? named : "/usr/bin/chromium";
        if (!File.Exists(chromium))
            Assert.Ignore($"there is no Chromium at {chromium} (PARVTS_CHROMIUM names another)");
        string driver = Path.Combine(Path.GetDirectoryName(chromium)!, OperatingSystem.IsWindows() ? "chromedriver.exe" : "chromedriver");
        if (!File.Exists(driver))
            Assert.Ignore($"there is no chromedriver at {driver}");
        return new Browser(chromium, driver);
    }

    /// <summary>Opens a file, and forgets what was logged before.</summary>
    public void Open(string path)
    {
        ConsoleMessages();
        Requests();
        _driver.Navigate().GoToUrl(new Uri(path).AbsoluteUri);
    }

    /// <summary>What the page said on its console since the last call: errors, refused requests, violations of its policy.</summary>
    public IReadOnlyList<string> ConsoleMessages() =>
        [.. _driver.Manage().Logs.GetLog(LogType.Browser).Select(entry => $"{entry.Level}: {entry.Message}")];

    /// <summary>The addresses that the page asked for since the last call.</summary>
    public IReadOnlyList<string> Requests()
    {
        var addresses = new List<string>();
        foreach (LogEntry entry in _driver.Manage().Logs.GetLog(LogType.Performance))
        {
            using JsonDocument document = JsonDocument.Parse(entry.Message);
            JsonElement message = document.RootElement.GetProperty("message");
            if (message.GetProperty("method").GetString() == "Network.requestWillBeSent")
                addresses.Add(message.GetProperty("params").GetProperty("request").GetProperty("url").GetString()!);
        }

        return addresses;
    }

    /// <summary>Sets the size of the window in CSS pixels.</summary>
    public void Resize(int width, int height) => Command(
        "Emulation.setDeviceMetricsOverride", new() { ["width"] = width, ["height"] = height, ["deviceScaleFactor"] = 1, ["mobile"] = false });

    /// <summary>Sets what the reader prefers, <c>light</c> or <c>dark</c>, on a <c>screen</c> or in <c>print</c>.</summary>
    public void Prefer(string scheme, string media = "screen") => Command("Emulation.setEmulatedMedia", new()
    {
        ["media"] = media,
        ["features"] = new object[] { new Dictionary<string, object> { ["name"] = "prefers-color-scheme", ["value"] = scheme } },
    });

    /// <summary>Runs the body of a function in the page.</summary>
    public T Run<T>(string script, params object[] arguments) => (T)_driver.ExecuteScript(script, arguments)!;

    /// <summary>The element that a CSS selector names.</summary>
    public IWebElement Find(string selector) => _driver.FindElement(By.CssSelector(selector));

    /// <summary>The elements that a CSS selector names.</summary>
    public IReadOnlyList<IWebElement> FindAll(string selector) => _driver.FindElements(By.CssSelector(selector));

    /// <summary>Writes what the window shows, or the whole page, as a PNG that is kept with the test's results.</summary>
    public byte[] Photograph(string name, bool wholePage = false)
    {
        var result = (Dictionary<string, object?>)Command(
            "Page.captureScreenshot", new() { ["format"] = "png", ["captureBeyondViewport"] = wholePage })!;
        byte[] png = Convert.FromBase64String((string)result["data"]!);
        string folder = Path.Combine(TestContext.CurrentContext.WorkDirectory, "TestResults", "explain");
        Directory.CreateDirectory(folder);
        string path = Path.Combine(folder, name + ".png");
        File.WriteAllBytes(path, png);
        TestContext.AddTestAttachment(path);
        return png;
    }

    public void Dispose()
    {
        _driver.Quit();
        _driver.Dispose();
        Directory.Delete(_profile, recursive: true);
    }

    private object? Command(string name, Dictionary<string, object?> parameters) => _driver.ExecuteCdpCommand(name, parameters);
}
