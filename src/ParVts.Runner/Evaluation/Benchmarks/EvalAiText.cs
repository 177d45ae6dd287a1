using System.Text.RegularExpressions;

namespace ParVts.Runner.Evaluation.Benchmarks;

/// <summary>
/// How the VQA challenges' server makes answers comparable: lower case, without punctuation and articles, numbers as digits,
/// contractions with their apostrophes. Its oddities are kept, since published figures have them. Pure functions; any thread.
/// </summary>
internal static partial class EvalAiText
{
    // re.UNICODE stands where the script's library expects how many to replace, and its value is 32.
    private const int MaxPeriods = 32;

    private static readonly string[] s_punctuation = [";", "/", "[", "]", "\"", "{", "}", "(", ")", "=", "+", "\\", "_", "-", ">", "<", "@", "`", ",", "?", "!"];

    private static readonly string[] s_articles = ["a", "an", "the"];

    private static readonly string[] s_numbers = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"];

    // Words that are recognised where their only apostrophe is missing; and where one of several is.
    private const string OneApostrophe =
        "ain't aren't can't could've couldn't didn't doesn't don't hadn't hasn't haven't he'd he's how'd how'll how's isn't it'd it'll ma'am "
        + "mightn't might've mustn't must've needn't not've o'clock oughtn't shan't should've shouldn't somebody'll somebody's someone'd someone'll "
        + "someone's something'd something'll that's there'd there're there's they'd they'll they're they've 'twas wasn't we've weren't what'll "
        + "what're what's what've when's where'd where's where've who'd who'll who's who've why'll why're why's won't would've wouldn't y'all "
        + "you'd you'll you're you've";

    private const string MoreApostrophes =
        "couldn't've hadn't've he'd've it'd've mightn't've she'd've shouldn't've somebody'd've someone'd've something'd've there'd've "
        + "they'd've we'd've who'd've wouldn't've y'all'll y'all'd've you'd've";

    private static readonly Dictionary<string, string> s_contractions = Contractions();

    /// <summary>The text that is compared.</summary>
    public static string Normalise(string text)
    {
        string plain = text.ToLowerInvariant().Replace(",", "", StringComparison.Ordinal).Replace("?", "", StringComparison.Ordinal)
            .Replace("'s", " 's", StringComparison.Ordinal).Replace('\n', ' ').Replace('\t', ' ').Trim();
        return Words(WithoutPunctuation(plain));
    }

    private static string WithoutPunctuation(string text)
    {
        string result = text;
        foreach (string mark in s_punctuation)
        {
            // Between words a mark leaves a space; beside a space anywhere, it leaves nothing everywhere.
            bool atEdge = text.Contains(mark + " ", StringComparison.Ordinal) || text.Contains(" " + mark, StringComparison.Ordinal);
            result = result.Replace(mark, atEdge ? "" : " ", StringComparison.Ordinal);
        }

        return Period().Replace(result, "", MaxPeriods);
    }

    private static string Words(string text)
    {
        var words = new List<string>();
        foreach (string written in text.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries))
        {
            int number = written == "none" ? 0 : Array.IndexOf(s_numbers, written);
            string word = number >= 0 ? number.ToString(System.Globalization.CultureInfo.InvariantCulture) : written;
            if (!s_articles.Contains(word))
                words.Add(s_contractions.GetValueOrDefault(word, word));
        }

        return string.Join(' ', words);
    }

    private static Dictionary<string, string> Contractions()
    {
        // One entry of the published table goes the other way.
        var all = new Dictionary<string, string> { ["somebody'd"] = "somebodyd" };
        foreach (string word in (OneApostrophe + " " + MoreApostrophes).Split(' '))
        {
            for (int place = word.IndexOf('\''); place >= 0; place = word.IndexOf('\'', place + 1))
                all.Add(word.Remove(place, 1), word);
        }

        return all;
    }

    // A full stop that no digit follows.
    [GeneratedRegex(@"\.(?!\d)", RegexOptions.None, 1000)]
    private static partial Regex Period();
}
