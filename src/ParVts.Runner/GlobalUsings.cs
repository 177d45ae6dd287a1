// "Engine" alone is the namespace, inside ParVts.
global using InferenceEngine = ParVts.Engine.Generation.Engine;
