global using InsufficientMemoryException = ParVts.Engine.Compute.InsufficientMemoryException;

// Inside the namespace ParVts the bare name Engine is the namespace.
global using VlmEngine = ParVts.Engine.Generation.Engine;
