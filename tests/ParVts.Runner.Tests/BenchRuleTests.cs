using ParVts.Runner.Benchmarking;

namespace ParVts.Runner.Tests;

/// <summary>How bench reads its lists.</summary>
public sealed class BenchRuleTests
{
    [TestCase("dense,parvts:keep=64", "dense|parvts:keep=64")]
    [TestCase("parvts:keep=64,migrate=3,fuse=mean,dense,vtw", "parvts:keep=64,migrate=3,fuse=mean|dense|vtw")]
    [TestCase("pyramiddrop:layers=8/16/24,keep=0.5/0.25/0.125,shortv+fastv:layer=3,keep=0.5", "pyramiddrop:layers=8/16/24,keep=0.5/0.25/0.125|shortv+fastv:layer=3,keep=0.5")]
    [TestCase("vtw , fastv:keep=0.5", "vtw|fastv:keep=0.5")]
    [TestCase("@a,b.json,@c.json,dense", "@a,b.json|@c.json|dense")]
    [TestCase("dense;dense,vtw;vtw:layer=1", "dense|vtw|vtw:layer=1")]
    [TestCase("zspaprune:keep=8,core=0.6;random:seed=1,keep=3", "zspaprune:keep=8,core=0.6|random:seed=1,keep=3")]
    [TestCase("dense,pavrts:keep=3", "dense|pavrts:keep=3")]
    [TestCase("fastv:layer=3,keep", "fastv:layer=3,keep")]
    public void ACommaEndsAPolicyWhereAnotherFollows(string values, string policies) =>
        Assert.That(OptionLists.Policies("--policy", values.Split(';')), Is.EqualTo(policies.Split('|')));

    [TestCase("dense,")]
    [TestCase(",dense")]
    [TestCase("dense,,vtw")]
    [TestCase("")]
    public void EmptyPartsAreRefused(string value)
    {
        Assert.That(() => OptionLists.Policies("--policy", [value]), Throws.TypeOf<UsageException>().With.Message.Contains("empty"));
        Assert.That(() => OptionLists.Texts("--device", [value]), Throws.TypeOf<UsageException>().With.Message.Contains("empty"));
    }

    [TestCase("1,2;2,5", new[] { 1, 2, 5 })]
    [TestCase("0", new[] { 0 })]
    public void NumbersAreListed(string values, int[] numbers) => Assert.That(OptionLists.Numbers("--images", values.Split(';'), 0, 9), Is.EqualTo(numbers));

    [TestCase("10")]
    [TestCase("-1")]
    [TestCase("1.5")]
    [TestCase("99999999999999999999")]
    [TestCase("x")]
    public void OtherNumbersAreRefused(string value) =>
        Assert.That(() => OptionLists.Numbers("--images", [value], 0, 9), Throws.TypeOf<UsageException>().With.Message.Contains("from 0 to 9"));

    [TestCase("64", 0, new[] { 64 })]
    [TestCase("64", 1, new[] { 35, 29 })]
    [TestCase("64", 5, new[] { 35, 5, 6, 6, 6, 6 })]
    [TestCase("36", 3, new[] { 35, 0, 0, 1 })]
    [TestCase("1", 1, new[] { 0, 1 })]
    [TestCase("35+29", 0, new[] { 64 })]
    [TestCase("35+29", 3, new[] { 35, 29, 29, 29 })]
    [TestCase("0+1", 2, new[] { 0, 1, 1 })]
    public void TextLiesRoundThePictures(string text, int images, int[] pieces)
    {
        var shape = PromptShape.Parse(text);
        int[] ids = shape.Ids(images, imageToken: 7, vocabulary: 20, seed: 3);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(shape.Pieces(images), Is.EqualTo(pieces));
            Assert.That(shape.Rows(images, tokensPerImage: 10), Is.EqualTo(pieces.Sum() + 10 * images));
            Assert.That(ids, Has.Length.EqualTo(pieces.Sum() + images).And.All.InRange(0, 19));
            Assert.That(Runs(ids), Is.EqualTo(pieces), "an image token between two pieces");
            Assert.That(ids, Is.EqualTo(shape.Ids(images, 7, 20, seed: 3)));
        }
    }

    [TestCase("0")]
    [TestCase("35+0")]
    [TestCase("+3")]
    [TestCase("1+2+3")]
    [TestCase("-3")]
    [TestCase("99999999999")]
    [TestCase("many")]
    public void OtherShapesAreRefused(string text) => Assert.That(() => PromptShape.Parse(text), Throws.TypeOf<UsageException>().With.Message.Contains("35+29"));

    private static int[] Runs(int[] ids)
    {
        var runs = new List<int> { 0 };
        foreach (int id in ids)
        {
            if (id == 7)
                runs.Add(0);
            else
                runs[^1]++;
        }

        return [.. runs];
    }
}
