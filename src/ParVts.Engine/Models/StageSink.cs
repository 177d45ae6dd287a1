using ParVts.Engine.Compute;

namespace ParVts.Engine.Models;

/// <summary>
/// Receives what a stage put out (contract D1), under the names of <c>parvts dump</c>. The tensor is valid only during
/// the call.
/// </summary>
internal delegate void StageSink(string stage, Tensor tensor);
