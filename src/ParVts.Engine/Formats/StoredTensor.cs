namespace ParVts.Engine.Formats;

/// <summary>
/// A tensor as it lies in a file: its name, type, shape and where its bytes are. The address stays valid until the
/// file that gave it is disposed. Any thread may read it.
/// </summary>
/// <param name="Name">The tensor's name in the file.</param>
/// <param name="Type">Its element type.</param>
/// <param name="Shape">Its extents, slowest first; empty for a scalar.</param>
/// <param name="Address">The first byte: row-major, little-endian, without padding. Not necessarily aligned.</param>
/// <param name="ByteLength">How many bytes it has.</param>
/// <param name="File">The file that it lies in, for error messages.</param>
public sealed record StoredTensor(string Name, TensorType Type, long[] Shape, nint Address, long ByteLength, string File);
