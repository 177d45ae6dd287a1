using System.IO.MemoryMappedFiles;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace ParVts.Engine.Formats;

/// <summary>The whole content of a file at a fixed address: mapped read-only, or read into memory of its own.</summary>
internal abstract unsafe class FileBytes : IDisposable
{
    /// <summary>The first byte.</summary>
    public abstract byte* Address { get; }

    /// <summary>Maps a file that is not empty. Pages are read when they are first touched.</summary>
    public static FileBytes Map(FileStream stream) => new MappedBytes(stream);

    /// <summary>Reads a file into native memory, so that nothing that happens to the file later matters.</summary>
    public static FileBytes Read(SafeFileHandle handle, long length) => new CopiedBytes(handle, length);

    /// <summary>Unmaps or frees; further calls do nothing.</summary>
    public abstract void Dispose();

    private sealed class MappedBytes : FileBytes
    {
        private readonly MemoryMappedFile mapping;
        private readonly MemoryMappedViewAccessor view;
        private byte* address;

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

            view.SafeMemoryMappedViewHandle.AcquirePointer(ref address);
        }

        public override byte* Address => address + view.PointerOffset;

        public override void Dispose()
        {
            if (address is null)
                return;
            address = null;
            view.SafeMemoryMappedViewHandle.ReleasePointer();
            view.Dispose();
            mapping.Dispose();
        }
    }

    private sealed class CopiedBytes : FileBytes
    {
        private const int ChunkLength = 1 << 26;

        private readonly NativeBlock block;

        public CopiedBytes(SafeFileHandle handle, long length)
        {
            block = new NativeBlock((nuint)length);
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
                block.Dispose();
                throw;
            }
        }

        public override byte* Address => (byte*)block.DangerousGetHandle();

        public override void Dispose() => block.Dispose();
    }

    private sealed class NativeBlock : SafeHandleZeroOrMinusOneIsInvalid
    {
        private const int Alignment = 64;

        public NativeBlock(nuint length)
            : base(ownsHandle: true) => SetHandle((nint)NativeMemory.AlignedAlloc(length, Alignment));

        protected override bool ReleaseHandle()
        {
            NativeMemory.AlignedFree((void*)handle);
            return true;
        }
    }
}
