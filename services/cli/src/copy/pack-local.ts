import { isUtf8 } from 'node:buffer';
import { type FileHandle, lstat, open, readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { FlotillaError } from '@flotilla/errors';
import { splitDevice } from '@flotilla/linux';
import { type Pack, pack } from 'tar-stream';
import { splitPath } from './copy-place.ts';
import type { CopyInfo } from './plan-copy.ts';

type Status = Awaited<ReturnType<typeof readStatus>>;

type HeaderFields = Parameters<Pack['entry']>[0];

const chunkBytes = 1 << 20;
const billion = 1_000_000_000n;

/** What is to be copied from here, as a tar in pieces of at most 1 MiB: `rename` says what its entries are called. */
export async function* packLocal(source: CopyInfo, rename: (name: string) => string): AsyncGenerator<Buffer, void> {
  const archive = pack({ highWaterMark: chunkBytes });
  const { folder, name } = splitPath(source.path);
  const called = (path: string) =>
    rename(source.rebaseName === '' ? path : path.replace(name, () => source.rebaseName));
  const packing = packAll(archive, join(folder, name), { name, called }).then(
    () => archive.finalize(),
    (error: unknown) => archive.destroy(error as Error),
  );
  try {
    yield* archive as AsyncIterable<Buffer>;
  } finally {
    archive.destroy();
    await packing;
  }
}

interface Naming {
  /** Of the first entry. */
  readonly name: string;
  readonly called: (path: string) => string;
}

async function packAll(archive: Pack, path: string, { name, called }: Naming): Promise<void> {
  const links = new Map<string, string>();
  const add = async (here: string, entry: string): Promise<void> => {
    const status = await readStatus(here);
    if (status === undefined && here !== path) return; // Gone since its name was read.
    if (status === undefined || status.isSocket()) return;
    await packOne(archive, here, { status, name: called(entry), links });
    if (!status.isDirectory()) return;
    for (const child of await namesIn(here)) await add(`${here}/${child}`, `${entry}/${child}`);
  };
  await add(path, name);
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

interface PackedFile {
  readonly status: NonNullable<Status>;
  readonly name: string;
  /** The first name of each file that has several. */
  readonly links: Map<string, string>;
}

async function packOne(archive: Pack, path: string, { status, name, links }: PackedFile): Promise<void> {
  const key = `${status.dev}:${status.ino}`;
  const first = status.isDirectory() || status.nlink < 2n ? undefined : links.get(key);
  if (first !== undefined) {
    await addEntry(archive, { ...headerOf(status, name), type: 'link', linkname: first });
    return;
  }
  if (status.nlink > 1n && !status.isDirectory()) links.set(key, name);
  const header = headerOf(status, name);
  if (status.isFile()) await packFile(archive, path, name);
  else if (status.isDirectory()) await addEntry(archive, { ...header, name: `${name}/`, type: 'directory' });
  else if (status.isSymbolicLink()) {
    await addEntry(archive, { ...header, type: 'symlink', linkname: await readlink(path) });
  } else if (status.isFIFO()) await addEntry(archive, { ...header, type: 'fifo' });
  else {
    const [devmajor, devminor] = splitDevice(status.rdev);
    const type = status.isBlockDevice() ? 'block-device' : 'character-device';
    await addEntry(archive, { ...header, type, devmajor, devminor });
  }
}

function headerOf({ mode, uid, gid, mtimeNs }: NonNullable<Status>, name: string): HeaderFields {
  const seconds = mtimeNs / billion - (mtimeNs % billion < 0n ? 1n : 0n);
  const fraction = String(mtimeNs - seconds * billion).padStart(9, '0');
  // In the PAX header what the other has no room for: large owners, fractions of a second.
  const pax = { mtime: `${seconds}.${fraction}`, uid: String(uid), gid: String(gid) };
  const narrow = (id: bigint) => (id > 0o7777777n ? 0 : Number(id));
  return { name, mode: Number(mode) & 0o7777, uid: narrow(uid), gid: narrow(gid), mtime: new Date(0), pax };
}

async function addEntry(archive: Pack, header: HeaderFields): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  archive.entry({ ...header, size: 0 }, (error) => (error ? reject(error) : resolve()));
  await promise;
}

/** A file that changes meanwhile has the size that it had when it was opened. */
async function packFile(archive: Pack, path: string, name: string): Promise<void> {
  await using file = await open(path, 'r');
  const status = await file.stat({ bigint: true });
  const size = Number(status.size);
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const entry = archive.entry({ ...headerOf(status, name), type: 'file', size }, (error) =>
    error ? reject(error) : resolve(),
  );
  await Promise.all([promise, pipeline(readExactly(file, size), entry as unknown as NodeJS.WritableStream)]);
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
