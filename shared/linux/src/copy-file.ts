import { ftruncateSync, readSync, writeSync } from 'node:fs';
import { libc } from './libc.ts';
import { check, isErrno } from './syscall-error.ts';

const cIoctl = libc.func('ioctl', 'int', ['int', 'ulong', 'int']);
const cLseek = libc.func('int64_t lseek64(int fd, int64_t offset, int whence)');
const cCopyFileRange = libc.func('copy_file_range', 'long', ['int', 'void *', 'int', 'void *', 'size_t', 'uint']);

const FICLONE = 0x40049409;
const SEEK_DATA = 3;
const SEEK_HOLE = 4;
const pieceBytes = 16 << 20;

/** Where the kernel would rather not: other file systems, older kernels, special files. */
const cannot = ['EOPNOTSUPP', 'ENOTSUP', 'EXDEV', 'EINVAL', 'ENOTTY', 'ENOSYS', 'EPERM', 'ETXTBSY'];

/** How the data of a file came into another: shared blocks, or a copy of them. */
export type CopyWay = 'reflink' | 'copy';

/**
 * Copies all data of an open regular file into another that is empty. Shares the blocks where the file system can
 * (ioctl_ficlone(2)), else lets the kernel copy (copy_file_range(2)) what is no hole. `beforePiece` is called before each
 * 16 MiB, and may throw.
 */
export function copyFileData(from: number, to: number, sizeBytes: number, beforePiece: () => void = () => {}): CopyWay {
  if (sizeBytes === 0) return 'copy';
  if (tryTo(() => check(cIoctl(to, FICLONE, from), 'ioctl', 'FICLONE')) !== undefined) return 'reflink';
  ftruncateSync(to, sizeBytes);
  for (let offset = findData(from, 0); offset !== undefined; ) {
    const end = check(cLseek(from, offset, SEEK_HOLE), 'lseek');
    for (let done = offset; done < end; ) {
      beforePiece();
      const copied = copyPiece(from, to, done, Math.min(end - done, pieceBytes));
      if (copied === 0) return 'copy'; // It has become shorter.
      done += copied;
    }
    offset = findData(from, end);
  }
  return 'copy';
}

/** lseek(2), SEEK_DATA: undefined when only holes follow. */
function findData(fd: number, offset: number): number | undefined {
  try {
    return check(cLseek(fd, offset, SEEK_DATA), 'lseek');
  } catch (error) {
    if (isErrno(error, 'ENXIO')) return undefined;
    throw error;
  }
}

const offsets = new BigInt64Array(2);

function copyPiece(from: number, to: number, offset: number, length: number): number {
  offsets.fill(BigInt(offset));
  const copied = tryTo(() =>
    check(cCopyFileRange(from, offsets.subarray(0, 1), to, offsets.subarray(1, 2), length, 0), 'copy_file_range'),
  );
  if (copied !== undefined) return copied;
  const buffer = Buffer.allocUnsafe(Math.min(length, 1 << 20));
  const read = readSync(from, buffer, 0, buffer.length, offset);
  for (let done = 0; done < read; ) done += writeSync(to, buffer, done, read - done, offset + done);
  return read;
}

function tryTo<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    if (isErrno(error, ...cannot)) return undefined;
    throw error;
  }
}
