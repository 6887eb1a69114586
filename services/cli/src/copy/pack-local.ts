import { isUtf8 } from 'node:buffer';
import { constants } from 'node:fs';
import { type FileHandle, lstat, open, readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { FlotillaError } from '@flotilla/errors';
import { fgetxattr, isErrno, splitDevice } from '@flotilla/linux';
import { paddingBytes, type TarEntry, tarEnd, tarHeader } from '@flotilla/oci/tar-header';
import { splitPath } from './copy-place.ts';
import type { CopyInfo } from './plan-copy.ts';

type Status = NonNullable<Awaited<ReturnType<typeof readStatus>>>;

const chunkBytes = 1 << 20;
const capability = 'security.capability';
/** capabilities(7), struct vfs_ns_cap_data: the revision is the highest byte of its first word; 3 adds the root's user id. */
const revisionAt = 3;
const [revision2, revision3, revision2Bytes] = [2, 3, 20];

/** What is to be copied from here, as a tar in pieces of at most 1 MiB: `rename` says what its entries are called. */
export async function* packLocal(source: CopyInfo, rename: (name: string) => string): AsyncGenerator<Buffer, void> {
  const { folder, name } = splitPath(source.path);
  const called = (path: string) =>
    rename(source.rebaseName === '' ? path : path.replace(name, () => source.rebaseName));
  const path = join(folder, name);
  yield* gather(packTree({ path, entry: name }, { called, links: new Map() }));
  yield tarEnd;
}

/** Small pieces in one: a header for each small file would be a message of its own. */
async function* gather(pieces: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void> {
  let held: Buffer[] = [];
  let size = 0;
  for await (const piece of pieces) {
    if (size > 0 && size + piece.length > chunkBytes) {
      yield Buffer.concat(held);
      held = [];
      size = 0;
    }
    if (piece.length === chunkBytes) yield piece;
    else {
      held.push(piece);
      size += piece.length;
    }
  }
  if (size > 0) yield Buffer.concat(held);
}

interface Naming {
  readonly called: (path: string) => string;
  /** The first name of each file that has several. */
  readonly links: Map<string, string>;
}

interface Place {
  readonly path: string;
  readonly entry: string;
}

async function* packTree({ path, entry }: Place, naming: Naming): AsyncGenerator<Buffer, void> {
  const status = await readStatus(path);
  if (status === undefined || status.isSocket()) return; // Gone since its name was read.
  yield* packOne(path, naming.called(entry), status, naming.links);
  if (!status.isDirectory()) return;
  for (const child of await namesIn(path)) {
    yield* packTree({ path: `${path}/${child}`, entry: `${entry}/${child}` }, naming);
  }
}

function replacedMeanwhile(path: string): FlotillaError {
  return new FlotillaError('aborted', `${path} was replaced while it was copied`, {
    reason: 'FILE_REPLACED',
    metadata: { path },
  });
}

/** In order. A tar is told apart by its names, and one that is no UTF-8 would be another. */
async function namesIn(folder: string): Promise<string[]> {
  const names = await readdir(folder, { encoding: 'buffer' });
  const odd = names.find((name) => !isUtf8(name));
  if (odd !== undefined) {
    const path = `${folder}/${odd.toString()}`;
    throw new FlotillaError('failed_precondition', `the name of ${path} is not UTF-8: it cannot be copied`, {
      reason: 'FILE_NAME_INVALID',
      metadata: { path },
    });
  }
  return names.map(String).sort();
}

async function readStatus(path: string) {
  try {
    return await lstat(path, { bigint: true });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

async function* packOne(
  path: string,
  name: string,
  status: Status,
  links: Map<string, string>,
): AsyncGenerator<Buffer, void> {
  const key = `${status.dev}:${status.ino}`;
  const first = status.isDirectory() || status.nlink < 2n ? undefined : links.get(key);
  if (first !== undefined) {
    yield header(name, 'link', status, { target: toLatin1(first) });
    return;
  }
  if (status.nlink > 1n && !status.isDirectory()) links.set(key, name);
  if (status.isFile()) yield* packFile(path, name);
  else if (status.isDirectory()) yield header(name, 'directory', status);
  else if (status.isSymbolicLink()) {
    const target = (await readlink(path, { encoding: 'buffer' })).toString('latin1');
    yield header(name, 'symlink', status, { target });
  } else if (status.isFIFO()) yield header(name, 'fifo', status);
  else {
    const type = status.isBlockDevice() ? 'block-device' : 'character-device';
    yield header(name, type, status, { device: splitDevice(status.rdev) });
  }
}

function header(
  name: string,
  type: TarEntry['type'],
  { mode, uid, gid, mtimeNs }: Status,
  more: Partial<Pick<TarEntry, 'target' | 'device' | 'xattrs' | 'sizeBytes'>> = {},
): Buffer {
  return tarHeader({
    path: toLatin1(name),
    type,
    mode: Number(mode) & 0o7777,
    uid: Number(uid),
    gid: Number(gid),
    modifiedUnixNano: mtimeNs,
    sizeBytes: 0,
    ...more,
  });
}

function toLatin1(text: string): string {
  return Buffer.from(text).toString('latin1');
}

/**
 * Of the extended attributes Docker's client sends a file's capabilities alone, and so do we: the others are the host's own.
 * Revision 3 is bound to a user namespace of the host, and becomes 2.
 */
function capabilityOf(fd: number): ReadonlyMap<string, Buffer> | undefined {
  const value = fgetxattr(fd, capability);
  if (value === undefined) return undefined;
  if (value[revisionAt] !== revision3) return new Map([[capability, value]]);
  const old = Buffer.from(value.subarray(0, revision2Bytes));
  old[revisionAt] = revision2;
  return new Map([[capability, old]]);
}

/**
 * A file that changes meanwhile has the size that it had when it was opened. Whoever owns its folder may put something else there
 * since it was looked at: no link is followed, and no FIFO waited for.
 */
async function* packFile(path: string, name: string): AsyncGenerator<Buffer, void> {
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  await using file = await open(path, flags).catch((error: unknown) => {
    throw isErrno(error, 'ELOOP') ? replacedMeanwhile(path) : error;
  });
  const status = await file.stat({ bigint: true });
  if (!status.isFile()) throw replacedMeanwhile(path);
  const sizeBytes = Number(status.size);
  yield header(name, 'file', status, { sizeBytes, xattrs: capabilityOf(file.fd) });
  yield* readExactly(file, sizeBytes);
  yield Buffer.alloc(paddingBytes(sizeBytes));
}

/** So many bytes, zeros where the file has become shorter. */
async function* readExactly(file: FileHandle, size: number): AsyncGenerator<Buffer, void> {
  let ended = false;
  for (let left = size; left > 0; ) {
    const piece = Buffer.allocUnsafe(Math.min(chunkBytes, left));
    const bytesRead: number = ended ? 0 : (await file.read(piece)).bytesRead;
    ended ||= bytesRead === 0;
    const data = ended ? piece.fill(0) : piece.subarray(0, bytesRead);
    left -= data.length;
    yield data;
  }
}
