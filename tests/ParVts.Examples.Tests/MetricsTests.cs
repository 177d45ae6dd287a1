using System.Text.Json;

namespace ParVts.Examples.Tests;

/// <summary>What <c>/metrics</c> says, against what was asked.</summary>
public sealed class MetricsTests
{
    [Test]
    public async Task TheNumbersAreThoseOfTheAnswers()
    {
        using var server = Server.Start();
        (string? Picture, string Policy, bool Stream)[] asked =
            [(Demo.Picture(), "dense", false), (Demo.Picture(1), "parvts:keep=36", true), (Demo.Picture(2), "parvts:keep=20", false), (Demo.Picture(3), "vtw:layer=4", false), (null, "dense", false)];
        int input = 0, output = 0, visual = 0, kept = 0, several = 0;
        foreach ((string? picture, string policy, bool stream) in asked)
        {
            System.Text.Json.Nodes.JsonObject request = Demo.Request("what is the top color?", picture, policy).With("parvts_trace", true);
            JsonElement parvts;
            if (stream)
            {
                using ServerStream open = await server.Open(request);
                parvts = (await open.Read()).Chunks[^1].GetProperty("parvts");
            }
            else
            {
                parvts = (await server.Ask(request)).GetProperty("parvts");
            }

            int tokens = parvts.GetProperty("tokens").GetArrayLength();
            input += parvts.GetProperty("prompt_tokens").GetInt32();
            output += tokens;
            several += tokens > 1 ? 1 : 0;
            visual += parvts.GetProperty("visual_tokens").GetInt32();
            JsonElement[] events = [.. parvts.GetProperty("trace").GetProperty("events").EnumerateArray()];
            kept += events.Length > 0 ? events[^1].GetProperty("kept").GetArrayLength() : parvts.GetProperty("visual_tokens").GetInt32();
        }

        await server.Post("nonsense");
        MetricsPage page = await server.Until(page => page["parvts_requests_total"] > asked.Length);
        (string, string) model = ("gen_ai_request_model", Demo.Name);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(kept, Is.EqualTo(144 + 36 + 20), "what was asked for");
            Assert.That(page["parvts_visual_tokens_total", model], Is.EqualTo(visual));
            Assert.That(page["parvts_visual_tokens_kept_total", model], Is.EqualTo(kept));
            Assert.That(page["parvts_tokens_total", ("gen_ai_token_type", "input"), model], Is.EqualTo(input));
            Assert.That(page["parvts_tokens_total", ("gen_ai_token_type", "output"), model], Is.EqualTo(output));
            Assert.That(page["parvts_requests_total", ("http_response_status_code", "200")], Is.EqualTo(asked.Length));
            Assert.That(page["parvts_requests_total", ("http_response_status_code", "400")], Is.EqualTo(1));
            Assert.That(page["gen_ai_server_time_to_first_token_seconds_count", model], Is.EqualTo(asked.Length));
            Assert.That(page["gen_ai_server_time_per_output_token_seconds_count", model], Is.EqualTo(several));
            Assert.That(page["parvts_decode_tokens_per_second_count", model], Is.EqualTo(several));
            Assert.That(page["gen_ai_server_request_duration_seconds_count", model], Is.EqualTo(asked.Length + 1));
            Assert.That(page["gen_ai_server_request_duration_seconds_count", ("error_type", "400")], Is.EqualTo(1));
            Assert.That(page["gen_ai_server_time_to_first_token_seconds_sum"], Is.LessThan(page["gen_ai_server_request_duration_seconds_sum"]).And.GreaterThan(0));
            foreach (string gauge in MetricsPage.Busy)
                Assert.That(page[gauge], Is.Zero, gauge);
        }

        HistogramsAddUp(page);
        EveryNameIsInTheReadme(page);
    }

    private static void HistogramsAddUp(MetricsPage page)
    {
        foreach ((string metric, _) in page.Types.Where(type => type.Value == "histogram"))
        {
            foreach (IGrouping<string, Sample> series in page.Samples.Where(sample => sample.Name == metric + "_bucket")
                .GroupBy(sample => string.Join(',', sample.Labels.Where(label => label.Key != "le").Select(label => $"{label.Key}={label.Value}").Order())))
            {
                (string, string)[] labels = [.. series.First().Labels.Where(label => label.Key != "le").Select(label => (label.Key, label.Value))];
                double count = page.Samples.Single(sample => sample.Name == metric + "_count" && sample.Labels.Count == labels.Length
                    && labels.All(label => sample.Labels.GetValueOrDefault(label.Item1) == label.Item2)).Value;
                Assert.That(series.Select(sample => sample.Value), Is.Ordered, metric);
                Assert.That(series.Last().Labels["le"], Is.EqualTo("+Inf"), metric);
                Assert.That(series.Last().Value, Is.EqualTo(count), metric);
            }
        }
    }

    private static void EveryNameIsInTheReadme(MetricsPage page)
    {
        string readme = File.ReadAllText(Path.Combine(TestData.Root, "examples", "http", "README.md"));
        using (Assert.EnterMultipleScope())
        {
            foreach (string name in page.Types.Keys)
                Assert.That(readme, Does.Contain($"`{name}`"));
        }
    }
}
