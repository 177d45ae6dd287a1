using System.Text;
using ParVts.Engine.Generation;

namespace ParVts.Engine.Tests.Generation;

/// <summary>Stop texts in random streams: what comes out is the text cut at the earliest stop, and no piece of one before.</summary>
public class StopFilterTests
{
    [Test]
    public void Random_streams_are_cut_where_the_text_would_be([Range(1, 200)] int seed)
    {
        var random = new Random(seed);
        string text = Letters(random, random.Next(0, 60));
        string[] stops = [.. Enumerable.Range(0, random.Next(0, 4)).Select(_ => Letters(random, random.Next(1, 5)))];
        var filter = new StopFilter(stops);
        var emitted = new StringBuilder();
        for (int place = 0; place < text.Length && !filter.Stopped;)
        {
            int length = random.Next(0, Math.Min(6, text.Length - place) + 1);
            emitted.Append(filter.Push(text.AsSpan(place, length)));
            place += length;
            Assert.That(Expected(text, stops), Does.StartWith(emitted.ToString()));
        }

        if (!filter.Stopped)
            emitted.Append(filter.Rest());
        Assert.That(filter.Stopped, Is.EqualTo(stops.Any(stop => text.Contains(stop, StringComparison.Ordinal))));
        Assert.That(emitted.ToString(), Is.EqualTo(Expected(text, stops)));
    }

    // The first stop to be complete ends the text; of those complete with the same character, the one that begins first.
    private static string Expected(string text, string[] stops)
    {
        int end = -1;
        for (int length = 0; length <= text.Length && end < 0; length++)
        {
            foreach (string stop in stops)
            {
                if (text[..length].EndsWith(stop, StringComparison.Ordinal))
                    end = end < 0 ? length - stop.Length : Math.Min(end, length - stop.Length);
            }
        }

        return end < 0 ? text : text[..end];
    }

    private static string Letters(Random random, int count) =>
        string.Concat(Enumerable.Range(0, count).Select(_ => "abc"[random.Next(3)]));
}
