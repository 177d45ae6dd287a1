using System.IO.Compression;
using System.Reflection.Metadata;
using System.Text;

namespace ParVts.Package.Tests;

/// <summary>What a portable PDB inside a package says of its sources.</summary>
/// <param name="Documents">Every source file, and whether its text lies in the PDB.</param>
/// <param name="SourceLink">Where the others are fetched from, as JSON; null where that is not said.</param>
internal sealed record SymbolFile(IReadOnlyList<(string Path, bool Embedded)> Documents, string? SourceLink)
{
    private static readonly Guid s_sourceLink = new("CC110556-A091-4D38-9FEC-25AB9A351A6A");
    private static readonly Guid s_embeddedSource = new("0E8A571B-6926-466E-B4AD-8AB04611F5FE");

    /// <summary>Reads one of a package of symbols.</summary>
    public static SymbolFile Read(string package, string entry)
    {
        using ZipArchive archive = ZipFile.OpenRead(package);
        var bytes = new MemoryStream();
        using (Stream content = archive.GetEntry(entry)!.Open())
            content.CopyTo(bytes);
        bytes.Position = 0;
        using var provider = MetadataReaderProvider.FromPortablePdbStream(bytes);
        MetadataReader reader = provider.GetMetadataReader();
        return new SymbolFile(
            [.. reader.Documents.Select(handle => (reader.GetString(reader.GetDocument(handle).Name), Find(reader, handle, s_embeddedSource) is not null))],
            Find(reader, EntityHandle.ModuleDefinition, s_sourceLink) is byte[] json ? Encoding.UTF8.GetString(json) : null);
    }

    private static byte[]? Find(MetadataReader reader, EntityHandle owner, Guid kind) => reader.GetCustomDebugInformation(owner)
        .Select(reader.GetCustomDebugInformation)
        .Where(information => reader.GetGuid(information.Kind) == kind)
        .Select(information => reader.GetBlobBytes(information.Value))
        .FirstOrDefault();
}
