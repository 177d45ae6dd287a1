namespace ParVts.Engine.Tests;

public class ErrorTests
{
    [Test]
    public void A_format_error_names_the_file_and_the_tensor()
    {
        var error = new ModelFormatException("model.safetensors", "lm_head.weight", "is missing");
        Assert.That(error.Message, Is.EqualTo("model.safetensors: 'lm_head.weight': is missing"));
    }
}
