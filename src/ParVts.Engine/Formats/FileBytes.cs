using System.IO.MemoryMappedFiles;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace ParVts.Engine.Formats;

/// <summary>
/// The whole content of a file at a fixed address: mapped read-only, or read into memory of its own. Nothing but
/// <see cref="Dispose"/> frees it, no finalizer either: addresses are handed out that the collector does not see.
/// </summary>
internal abstract unsafe class FileBytes : IDisposable
{
    /// <summary>The first byte.</summary>
    public abstract byte* Address { get; }

    /// <summary>Maps a file that is not empty. Pages are read when they are first touched.</summary>
    public static FileBytes Map(FileStream stream) => new MappedBytes(stream);

    /// <summary>Reads a file into native memory, so that nothing that happens to the file later matters.</summary>
    public static FileBytes Read(SafeFileHandle handle, long length) => new CopiedBytes(handle, length);

    /// <summary>Unmaps or frees; further calls, from any thread, do nothing.</summary>
    public abstract void Dispose();

    private sealed class MappedBytes : FileBytes
    {
        private readonly MemoryMappedFile mapping;
        private readonly MemoryMappedViewAccessor view;
        private nint address;

        public MappedBytes(FileStream stream)
        {
            mapping = MemoryMappedFile.CreateFromFile(stream, null, 0, MemoryMappedFileAccess.Read, HandleInheritability.None, leaveOpen: true);
            try
            {
                view = mapping.CreateViewAccessor(0, 0, MemoryMappedFileAccess.Read);
            }
            catch
            {
                mapping.Dispose();
                throw;
            }

            byte* start = null;
            view.SafeMemoryMappedViewHandle.AcquirePointer(ref start);
            address = (nint)(start + view.PointerOffset);
        }

        public override byte* Address => (byte*)address;

        public override void Dispose()
        {
            if (Interlocked.Exchange(ref address, 0) == 0)
                return;
            view.SafeMemoryMappedViewHandle.ReleasePointer();
            view.Dispose();
            mapping.Dispose();
        }
    }

    private sealed class CopiedBytes : FileBytes
    {
        private const int ChunkLength = 1 << 26;

        private const int Alignment = 64;

        private nint address;

        public CopiedBytes(SafeFileHandle handle, long length)
        {
            address = (nint)NativeMemory.AlignedAlloc((nuint)length, Alignment);
            try
            {
                for (long done = 0; done < length;)
                {
                    var rest = new Span<byte>(Address + done, (int)Math.Min(ChunkLength, length - done));
                    int read = RandomAccess.Read(handle, rest, done);
                    if (read == 0)
                        throw new EndOfStreamException("the file became shorter while it was read");
                    done += read;
                }
            }
            catch
            {
                Dispose();
                throw;
            }
        }

        public override byte* Address => (byte*)address;

        public override void Dispose() => NativeMemory.AlignedFree((void*)Interlocked.Exchange(ref address, 0));
    }
}
