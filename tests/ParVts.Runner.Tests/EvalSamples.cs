using System.Globalization;
using System.Text.Json;

namespace ParVts.Runner.Tests;

/// <summary>Small files in the form of each published benchmark, written into a folder of their own.</summary>
internal static class EvalSamples
{
    /// <summary>What <see cref="Write"/> knows: a name, the format, and what --data names below the folder.</summary>
    public static IEnumerable<TestCaseData> All()
    {
        (string Name, string Format, string Data)[] all =
        [
            ("jsonl", "jsonl", "eval.jsonl"),
            ("jsonl", "jsonl", ""),
            ("pope", "pope", "coco"),
            ("pope", "pope", ""),
            ("pope", "pope", "coco/coco_pope_random.json"),
            ("pope", "pope", "llava_pope_test.jsonl"),
            ("gqa", "gqa", "testdev_balanced_questions.json"),
            ("gqa", "gqa", ""),
            ("gqa", "gqa", "llava_gqa_testdev_balanced.jsonl"),
            ("textvqa", "textvqa", "TextVQA_0.5.1_val.json"),
            ("textvqa", "textvqa", ""),
            ("textvqa", "textvqa", "llava_textvqa_val_v051_ocr.jsonl"),
            ("scienceqa", "scienceqa", "problems.json"),
            ("scienceqa", "scienceqa", ""),
            ("scienceqa", "scienceqa", "llava_test_CQM-A.json"),
            ("mmbench", "mmbench", "mmbench_dev_20230712.tsv"),
            ("mmbench", "mmbench", ""),
            ("mme", "mme", ""),
        ];
        return all.Select(one => new TestCaseData(one.Name, one.Format, one.Data).SetArgDisplayNames(one.Name, one.Data));
    }

    /// <summary>Writes a benchmark's files, every picture a copy of one.</summary>
    public static string Write(string name, string folder, byte[] picture)
    {
        Directory.CreateDirectory(folder);
        switch (name)
        {
            case "jsonl":
                Text("eval.jsonl", """{"image": "a.png", "question": "What?", "answer": "This", "kind": "k"}""" + "\n\n" + """{"image": "b.png", "question": "And?", "answer": 3}""");
                Pictures("a.png", "b.png");
                break;
            case "pope":
                Text("coco/coco_pope_random.json", Pope(1, "1.jpg", "dog", "yes") + Pope(2, "1.jpg", "cat", "no"));
                Text("coco/coco_pope_popular.json", Pope(1, "2.jpg", "cat", "no"));
                Text("llava_pope_test.jsonl", LlavaPope(0, "2.jpg", "cat", "popular") + LlavaPope(1, "1.jpg", "dog", "random") + LlavaPope(2, "1.jpg", "cat", "random"));
                Pictures("val2014/1.jpg", "val2014/2.jpg");
                break;
            case "gqa":
                Text("testdev_balanced_questions.json", """{"201": {"imageId": "n1", "question": "Is it overcast?", "answer": "no", "types": {"structural": "verify"}}, "202": {"imageId": "n2", "question": "Who is it?", "answer": "girl"}}""");
                Text("llava_gqa_testdev_balanced.jsonl", Line(("question_id", "202"), ("image", "n2.jpg"), ("text", "Who is it?\nIn a word."), ("category", "default")));
                Pictures("images/n1.jpg", "images/n2.jpg");
                break;
            case "textvqa":
                string people = JsonSerializer.Serialize(Enumerable.Repeat("nokia", 6).Concat(Enumerable.Repeat("Nokia 3310", 4)));
                Text("TextVQA_0.5.1_val.json", $$"""{"dataset_type": "val", "data": [{"question": "What is the brand?", "image_id": "003a", "answers": {{people}}, "question_id": 34602}]}""");
                Text("llava_textvqa_val_v051_ocr.jsonl", Line(("question_id", "003a"), ("image", "003a.jpg"), ("text", "what is the BRAND?\nReference OCR token: NOKIA\nIn a word.")));
                Pictures("train_images/003a.jpg");
                break;
            case "scienceqa":
                Text("problems.json", """{"4": {"question": "Which?", "choices": ["ash", "oak"], "answer": 1, "hint": "Look.", "image": "image.png", "subject": "natural science"}, "5": {"question": "No picture?", "choices": ["x", "y"], "answer": 0, "hint": "", "image": null}}""");
                Text("pid_splits.json", """{"train": [], "test": ["4", "5"]}""");
                Text("llava_test_CQM-A.json", """[{"id": "4", "image": "4/image.png", "conversations": [{"from": "human", "value": "Context: Look.\nQuestion: Which?\nOptions: (A) ash (B) oak\n<image>"}, {"from": "gpt", "value": "The answer is B."}]}, {"id": "5", "conversations": []}]""");
                Pictures("images/test/4/image.png");
                break;
            case "mmbench":
                string code = Convert.ToBase64String(picture);
                string head = string.Join('\t', "index", "question", "hint", "A", "B", "C", "D", "answer", "category", "image", "split");
                Text("mmbench_dev_20230712.tsv", head + "\n" + string.Join('\t', "7", "Which\u00A0one?", "\"Two\nlines, a \"\"quote\"\" and\ta tab\"", "a cat", "a dog", "nan", "", "B", "animals", code, "dev") + "\r\n"
                    + string.Join('\t', "1000007", "Which one?", "nan", "a dog", "a cat", "", "", "A", "animals", "7", "dev") + "\n");
                break;
            case "mme":
                Text("count/a.txt", "Is there one? Please answer yes or no.\tYes\nAre there two? Please answer yes or no.\tNo\n");
                Text("artwork/questions_answers_YN/b.txt", "Is it old?  Please answer yes or no.\tNo\n");
                Pictures("count/a.png", "artwork/images/b.jpg");
                break;
        }

        return folder;

        void Text(string file, string text)
        {
            string path = Path.Combine(folder, file);
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            File.WriteAllText(path, text);
        }

        void Pictures(params string[] files)
        {
            foreach (string file in files)
            {
                Directory.CreateDirectory(Path.GetDirectoryName(Path.Combine(folder, file))!);
                File.WriteAllBytes(Path.Combine(folder, file), picture);
            }
        }
    }

    /// <summary>A line of POPE's own files.</summary>
    public static string Pope(int id, string image, string thing, string label) =>
        $$"""{"question_id": {{id.ToString(CultureInfo.InvariantCulture)}}, "image": "{{image}}", "text": "Is there a {{thing}} in the image?", "label": "{{label}}"}""" + "\n";

    private static string LlavaPope(int id, string image, string thing, string split) =>
        $$"""{"question_id": {{id.ToString(CultureInfo.InvariantCulture)}}, "image": "{{image}}", "text": "Is there a {{thing}} in the image?\nIn a word.", "category": "{{split}}"}""" + "\n";

    private static string Line(params (string Name, string Value)[] members) =>
        JsonSerializer.Serialize(members.ToDictionary(member => member.Name, member => member.Value)) + "\n";
}
