using System.CommandLine;

namespace ParVts.Runner;

/// <summary>A command whose help ends with examples.</summary>
internal sealed class CommandWithExamples(string name, string description, string examples) : Command(name, description)
{
    /// <summary>Lines that can be typed.</summary>
    public string Examples { get; } = examples;
}
