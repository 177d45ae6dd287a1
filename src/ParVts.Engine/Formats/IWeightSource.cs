namespace ParVts.Engine.Formats;

/// <summary>Where a model's tensors come from: files, or a generator of random ones. Any thread may read.</summary>
internal interface IWeightSource : IDisposable
{
    /// <summary>The names of the tensors that are known.</summary>
    IEnumerable<string> Names { get; }

    /// <summary>The tensors themselves: all of the files', or those that were made.</summary>
    IEnumerable<StoredTensor> All { get; }

    /// <summary>The type of the largest tensor, which is that of the matrices.</summary>
    TensorType MatrixType { get; }

    /// <summary>A tensor of this name is there, or can be made.</summary>
    bool Has(string name);

    /// <summary>The tensor of this name; its address is valid until the source is disposed.</summary>
    /// <param name="name">Its name in the files.</param>
    /// <param name="shape">The shape that the model expects; what lies in a file may have another one.</param>
    /// <returns>Null where there is none.</returns>
    StoredTensor? Find(string name, ReadOnlySpan<long> shape);
}
