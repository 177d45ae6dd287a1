using System.Text;
using ParVts.Engine;
using ParVts.Engine.Imaging;
using ParVts.Engine.Imaging.Png;
using ParVts.Runner.Evaluation;

namespace ParVts.Runner.Tests;

/// <summary>Published files are read as they are; damaged ones are refused with their place, whatever is wrong with them.</summary>
public sealed class EvalDataTests
{
    private const string Short = "\nAnswer the question using a single word or phrase.";
    private const string Letter = "\nAnswer with the option's letter from the given choices directly.";

    private static readonly byte[] s_picture = PngWriter.Encode(new RgbImage(3, 2));

    [TestCaseSource(typeof(EvalSamples), nameof(EvalSamples.All))]
    public void IsReadAsPublished(string name, string format, string data)
    {
        string folder = Folder(name);
        EvaluationData found = EvaluationData.Open(Path.Combine(folder, data));
        EvaluationData named = EvaluationData.Open(Path.Combine(folder, data), format);
        EvaluationQuestion[] expected = Expected(name, data);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(found.Benchmark.Name, Is.EqualTo(format));
            Assert.That(found.Questions, Is.EqualTo(expected));
            Assert.That(named.Questions, Is.EqualTo(expected));
            Assert.That(() => found.RequirePictures(found.Questions), Throws.Nothing);
            foreach (EvaluationQuestion question in found.Questions)
            {
                Assert.That(found.Load(question.Image).Width, Is.EqualTo(3), question.Image);
                Assert.That(found.Benchmark.Score(question, question.Answer.Split('\n')[0]), Is.EqualTo(1), "the right answer");
                Assert.That(found.Benchmark.Score(question, "purple"), Is.EqualTo(name == "pope" && question.Answer == "yes" ? 1 : 0));
            }
        }
    }

    [Test]
    public void PicturesMayLieElsewhere()
    {
        string folder = Folder("gqa");
        string elsewhere = Path.Combine(folder, "elsewhere");
        Directory.Move(Path.Combine(folder, "images"), elsewhere);
        EvaluationData lost = EvaluationData.Open(folder);
        EvaluationData given = EvaluationData.Open(folder, images: elsewhere);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(() => lost.RequirePictures(lost.Questions), Throws.TypeOf<InputFileException>().With.Message.Contains("n1.jpg").And.Message.Contains("--images"));
            Assert.That(() => given.RequirePictures(given.Questions), Throws.Nothing);
            Assert.That(() => EvaluationData.Open(folder, images: Path.Combine(folder, "none")), Throws.TypeOf<DirectoryNotFoundException>());
            Assert.That(() => EvaluationData.Open(folder, "vqa"), Throws.TypeOf<UsageException>().With.Message.Contains("mmbench"));
        }
    }

    // What is written in place of what, and where the message must point.
    [TestCase("pope", "coco/coco_pope_random.json", "\"no\"", "\"maybe\"", "line 2", "maybe")]
    [TestCase("pope", "coco/coco_pope_random.json", "\"image\": \"1.jpg\", \"text\": \"Is there a cat", "\"picture\": \"1.jpg\", \"text\": \"Is there a cat", "line 2", "'image'")]
    [TestCase("pope", "coco/coco_pope_random.json", "{\"question_id\": 2", "[2", "line 2", "JSON object")]
    [TestCase("gqa", "testdev_balanced_questions.json", "\"answer\": \"girl\"", "\"answer\": [1]", "entry '202'", "'answer'")]
    [TestCase("gqa", "testdev_balanced_questions.json", "\"question\": \"Who is it?\"", "\"question\": \"\\ud800\"", "entry '202'", "Unicode")]
    [TestCase("gqa", "testdev_balanced_questions.json", "{\"imageId\": \"n2\"", "7, \"x\": {\"imageId\": \"n2\"", "entry '202'", "object")]
    [TestCase("textvqa", "TextVQA_0.5.1_val.json", "\"image_id\"", "\"imageId\"", "entry 0", "'image_id'")]
    [TestCase("textvqa", "TextVQA_0.5.1_val.json", "\"answers\": [", "\"answers\": [], \"more\": [", "entry 0", "not published")]
    [TestCase("scienceqa", "problems.json", "\"answer\": 1", "\"answer\": 2", "entry '4'", "0 to 1")]
    [TestCase("scienceqa", "pid_splits.json", "\"5\"", "\"6\"", "pid_splits.json", "'6'")]
    [TestCase("mmbench", "mmbench_dev_20230712.tsv", "\tB\tanimals", "\tD\tanimals", "line 2", "'D'")]
    [TestCase("mmbench", "mmbench_dev_20230712.tsv", "\tnan\ta dog", "\ta dog", "line 4", "cells")]
    [TestCase("mmbench", "mmbench_dev_20230712.tsv", "a tab\"", "a tab", "line 2", "does not end")]
    [TestCase("mmbench", "mmbench_dev_20230712.tsv", "1000007", "x", "line 4", "'x'")]
    [TestCase("mme", "count/a.txt", "\tNo", " No", "line 2", "tab")]
    [TestCase("mme", "count/a.txt", "\tYes", "\tPerhaps", "line 1", "Yes or No")]
    public void DamageIsNamed(string name, string file, string from, string to, string place, string message)
    {
        string folder = Folder(name);
        string path = Path.Combine(folder, file);
        string text = File.ReadAllText(path);
        Assert.That(text, Does.Contain(from));
        File.WriteAllText(path, text.Replace(from, to, StringComparison.Ordinal));
        Assert.That(
            () => EvaluationData.Open(folder, name),
            Throws.TypeOf<InputFileException>().With.Message.Contains(Path.GetFileName(file)).And.Message.Contains(place).And.Message.Contains(message));
    }

    [TestCase("pope", "llava_pope_test.jsonl", "coco/coco_pope_popular.json", "popular")]
    [TestCase("gqa", "llava_gqa_testdev_balanced.jsonl", "testdev_balanced_questions.json", "_balanced_questions.json")]
    [TestCase("textvqa", "llava_textvqa_val_v051_ocr.jsonl", "TextVQA_0.5.1_val.json", "TextVQA_")]
    [TestCase("scienceqa", "problems.json", "pid_splits.json", "pid_splits.json")]
    public void MissingAnswersAreNamed(string name, string data, string missing, string message)
    {
        string folder = Folder(name);
        File.Delete(Path.Combine(folder, missing));
        Assert.That(() => EvaluationData.Open(Path.Combine(folder, data), name), Throws.TypeOf<InputFileException>().With.Message.Contains(message));
    }

    [Test]
    public void TheSameQuestionTwiceIsRefused()
    {
        string file = Path.Combine(Folder("pope"), "coco", "coco_pope_random.json");
        File.AppendAllText(file, File.ReadAllLines(file)[0]);
        Assert.That(() => EvaluationData.Open(file), Throws.TypeOf<InputFileException>().With.Message.Contains("random/1").And.Message.Contains("twice"));
    }

    [Test]
    public void DamagedPictureInTheTableIsRefused()
    {
        string folder = Folder("mmbench");
        string file = Path.Combine(folder, "mmbench_dev_20230712.tsv");
        string code = Convert.ToBase64String(s_picture);
        foreach (string other in new[] { "no base64!", "", "8", code[..^8] })
        {
            File.WriteAllText(file, File.ReadAllText(file).Replace(code, other, StringComparison.Ordinal));
            EvaluationData data = EvaluationData.Open(file);
            Assert.That(() => data.Load(data.Questions[0].Image), Throws.TypeOf<InputFileException>().Or.TypeOf<ImageFormatException>());
            EvalSamples.Write("mmbench", folder, s_picture);
        }
    }

    // Cut anywhere, or with any byte changed: read or refused, never anything else.
    [TestCaseSource(typeof(EvalSamples), nameof(EvalSamples.All))]
    public void DamageIsReadOrRefused(string name, string format, string data)
    {
        string folder = Folder(name);
        var random = new Random(6);
        foreach (string file in Directory.GetFiles(folder, "*", SearchOption.AllDirectories).Where(file => Path.GetExtension(file) is ".json" or ".jsonl" or ".tsv" or ".txt"))
        {
            byte[] good = File.ReadAllBytes(file);
            for (int i = 0; i < 150; i++)
            {
                byte[] bad = [.. good];
                if (i % 2 == 0)
                    bad = bad[..random.Next(bad.Length)];
                else
                    bad[random.Next(bad.Length)] = i % 4 == 1 ? (byte)random.Next(256) : "{}[]\",:\\\t\n0"u8[random.Next(11)];
                File.WriteAllBytes(file, bad);
                Try(Path.Combine(folder, data), i % 3 == 0 ? format : null, $"{file}: {Encoding.UTF8.GetString(bad)}");
            }

            File.WriteAllBytes(file, good);
        }
    }

    private static void Try(string path, string? format, string what)
    {
        try
        {
            EvaluationData data = EvaluationData.Open(path, format);
            data.RequirePictures(data.Questions);
            foreach (EvaluationQuestion question in data.Questions)
            {
                data.Load(question.Image);
                Assert.That(data.Benchmark.Score(question, "A. yes"), Is.InRange(0, 1), what);
            }
        }
        catch (Exception error) when (error is InputFileException or ImageFormatException)
        {
            Assert.That(error.Message, Is.Not.Empty);
        }
        catch (Exception error)
        {
            Assert.Fail($"{error}\n{what}");
        }
    }

    private static EvaluationQuestion[] Expected(string name, string data)
    {
        bool llava = data.StartsWith("llava", StringComparison.Ordinal);
        EvaluationQuestion[] random =
        [
            new("random/1", "1.jpg", "Is there a dog in the image?" + Short, "yes", "random"),
            new("random/2", "1.jpg", "Is there a cat in the image?" + Short, "no", "random"),
        ];
        return name switch
        {
            "jsonl" => [new("1", "a.png", "What?", "This", "k"), new("3", "b.png", "And?", "3", null)],
            "pope" when llava =>
            [
                new("popular/0", "2.jpg", "Is there a cat in the image?\nIn a word.", "no", "popular"),
                new("random/1", "1.jpg", "Is there a dog in the image?\nIn a word.", "yes", "random"),
                new("random/2", "1.jpg", "Is there a cat in the image?\nIn a word.", "no", "random"),
            ],
            "pope" when data.EndsWith(".json", StringComparison.Ordinal) => random,
            "pope" => [new("popular/1", "2.jpg", "Is there a cat in the image?" + Short, "no", "popular"), .. random],
            "gqa" when llava => [new("202", "n2.jpg", "Who is it?\nIn a word.", "girl", null)],
            "gqa" => [new("201", "n1.jpg", "Is it overcast?" + Short, "no", "verify"), new("202", "n2.jpg", "Who is it?" + Short, "girl", null)],
            "textvqa" =>
            [
                new(
                    "34602", "003a.jpg", data.EndsWith(".json", StringComparison.Ordinal) ? "What is the brand?" + Short : "what is the BRAND?\nReference OCR token: NOKIA\nIn a word.",
                    string.Join('\n', Enumerable.Repeat("nokia", 6).Concat(Enumerable.Repeat("Nokia 3310", 4))), null),
            ],
            "scienceqa" => [new("4", "4/image.png", "Context: Look.\nQuestion: Which?\nOptions: (A) ash (B) oak" + Letter, "B", llava ? null : "natural science")],
            "mmbench" =>
            [
                new("7", "mmbench_dev_20230712.tsv#7", "Two\nlines, a \"quote\" and\ta tab\nWhich\u00A0one?\nA. a cat\nB. a dog" + Letter, "B", "animals"),
                new("1000007", "mmbench_dev_20230712.tsv#1000007", "Which one?\nA. a dog\nB. a cat" + Letter, "A", "animals"),
            ],
            _ =>
            [
                new("artwork/b#1", "artwork/images/b.jpg", "Is it old?" + Short, "no", "artwork"),
                new("count/a#1", "count/a.png", "Is there one?" + Short, "yes", "count"),
                new("count/a#2", "count/a.png", "Are there two?" + Short, "no", "count"),
            ],
        };
    }

    private static string Folder(string name) =>
        EvalSamples.Write(name, Path.Combine(DemoModel.Scratch, "data", Guid.NewGuid().ToString("N")), s_picture);
}
