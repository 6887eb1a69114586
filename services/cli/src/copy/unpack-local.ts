import { closeSync, constants, fchmodSync, openSync, writeSync } from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { FlotillaError } from '@flotilla/errors';
import {
  fsetxattr,
  futimens,
  isErrno,
  linkat,
  makeDevice,
  mkdirat,
  mknodat,
  O_PATH,
  openat,
  openat2,
  RESOLVE_BENEATH,
  RESOLVE_NO_MAGICLINKS,
  removeAt,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFMT,
  statAt,
  symlinkat,
  utimensat,
} from '@flotilla/linux';
import { extract, type Header } from 'tar-stream';
import type { CopyPlan } from './plan-copy.ts';

const { O_RDONLY, O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW, O_DIRECTORY } = constants;
const xattrPrefix = 'SCHILY.xattr.user.';

/** Unpacks what a container gave into a folder here, as the user who asks. What a container says never leads out of it. */
export async function unpackLocal(chunks: AsyncIterable<Uint8Array>, { folder, rename }: CopyPlan): Promise<void> {
  using unpacker = new LocalUnpacker(folder, rename);
  const parser = extract();
  let applying: Promise<void> = Promise.resolve();
  parser.on('entry', (header, stream, next) => {
    // An entry that is refused ends with the parser, whose error is the one that counts.
    stream.on('error', () => {});
    applying = unpacker.apply(header, stream as unknown as AsyncIterable<Buffer>);
    applying.then(
      () => {
        stream.resume();
        next();
      },
      (error) => next(error),
    );
  });
  try {
    await pipeline(Readable.from(chunks, { objectMode: false }), parser);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_STREAM_PREMATURE_CLOSE') await applying;
    throw error;
  }
  unpacker.finish();
}

interface Folder {
  readonly path: string;
  readonly mode: number;
  readonly modifiedUnixNano: bigint;
}

/** Names are looked up below the folder alone; a link on the way may not lead out of it. */
class LocalUnpacker implements Disposable {
  readonly #root: number;
  readonly #rootPath: string;
  readonly #rename: (name: string) => string;
  /** Folders get their mode and time last: one may be read-only. */
  readonly #folders: Folder[] = [];

  constructor(path: string, rename: (name: string) => string) {
    this.#root = openSync(path, O_RDONLY | O_DIRECTORY);
    this.#rootPath = path;
    this.#rename = rename;
  }

  async apply(header: Header, data: AsyncIterable<Buffer>): Promise<void> {
    const parts = this.#parts(header.name, header.name);
    const name = parts.at(-1);
    if (name === undefined) return; // The folder itself stays as it is.
    const parent = this.#openParent(parts.slice(0, -1), header.name);
    try {
      this.#makeWay(parent, name, header);
      if (header.type === 'file' || header.type === 'contiguous-file') await this.#file(parent, name, header, data);
      else this.#make(parent, name, header, parts);
    } catch (error) {
      throw asRefusal(error, header.name);
    } finally {
      closeSync(parent);
    }
  }

  finish(): void {
    for (const { path, mode, modifiedUnixNano } of this.#folders.reverse()) {
      const fd = openat2(this.#root, path, { flags: O_RDONLY | O_DIRECTORY | O_NOFOLLOW, resolve: beneath });
      try {
        fchmodSync(fd, mode);
        futimens(fd, modifiedUnixNano);
      } finally {
        closeSync(fd);
      }
    }
  }

  [Symbol.dispose](): void {
    closeSync(this.#root);
  }

  #parts(name: string, entry: string): string[] {
    const found: string[] = [];
    for (const part of this.#rename(name).split('/')) {
      if (part === '' || part === '.') continue;
      if (part === '..' || part.includes('\0')) throw refused(entry, 'leaves the folder that it goes to');
      if (part.includes('\ufffd')) throw refused(entry, 'has a name that is not UTF-8');
      found.push(part);
    }
    return found;
  }

  #openParent(parts: readonly string[], entry: string): number {
    let fd = openat2(this.#root, '.', { flags: O_PATH | O_DIRECTORY, resolve: beneath });
    try {
      const path = parts.length === 0 ? '.' : parts.join('/');
      const open = () => openat2(this.#root, path, { flags: O_PATH | O_DIRECTORY, resolve: beneath });
      try {
        return open();
      } catch (error) {
        if (!isErrno(error, 'ENOENT')) throw error;
      }
      for (const part of parts) {
        try {
          mkdirat(fd, part, 0o755);
        } catch (error) {
          if (!isErrno(error, 'EEXIST')) throw error;
        }
        const next = openat(fd, part, O_PATH | O_DIRECTORY | O_NOFOLLOW);
        closeSync(fd);
        fd = next;
      }
      return open();
    } catch (error) {
      throw asRefusal(error, entry);
    } finally {
      closeSync(fd);
    }
  }

  /** Takes away what stands in the way, but never a folder for a file, nor a file for a folder. */
  #makeWay(parent: number, name: string, { type, name: entry }: Header): void {
    let mode: number;
    try {
      mode = statAt(parent, name).mode;
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return;
      throw error;
    }
    const [wasFolder, isFolder] = [(mode & S_IFMT) === S_IFDIR, type === 'directory'];
    const path = `${this.#rootPath.replace(/\/+$/, '')}/${this.#rename(entry).replace(/\/+$/, '')}`;
    if (wasFolder && !isFolder) {
      throw conflict(`cannot overwrite directory "${path}" with non-directory "${this.#rootPath}"`, path);
    }
    if (!wasFolder && isFolder) {
      throw conflict(`cannot overwrite non-directory "${path}" with directory "${this.#rootPath}"`, path);
    }
    if (!wasFolder) removeAt(parent, name);
  }

  async #file(parent: number, name: string, header: Header, data: AsyncIterable<Buffer>): Promise<void> {
    const fd = openat(parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
    try {
      for await (const chunk of data) for (let done = 0; done < chunk.length; ) done += writeSync(fd, chunk, done);
      for (const [key, value] of Object.entries(header.pax ?? {})) {
        if (key.startsWith(xattrPrefix)) setAttribute(fd, key.slice(xattrPrefix.length), value);
      }
      fchmodSync(fd, modeOf(header));
      futimens(fd, timeOf(header));
    } finally {
      closeSync(fd);
    }
  }

  #make(parent: number, name: string, header: Header, parts: readonly string[]): void {
    switch (header.type) {
      case 'directory':
        try {
          mkdirat(parent, name, 0o700);
        } catch (error) {
          if (!isErrno(error, 'EEXIST')) throw error;
        }
        this.#folders.push({ path: parts.join('/'), mode: modeOf(header), modifiedUnixNano: timeOf(header) });
        return;
      case 'symlink':
        symlinkat(header.linkname ?? '', parent, name);
        utimensat(parent, name, timeOf(header));
        return;
      case 'link':
        this.#hardLink(parent, name, header);
        return;
      case 'character-device':
      case 'block-device':
      case 'fifo': {
        const type = header.type === 'fifo' ? S_IFIFO : header.type === 'block-device' ? S_IFBLK : S_IFCHR;
        const device = makeDevice(header.devmajor ?? 0, header.devminor ?? 0);
        mknodat(parent, name, type | (modeOf(header) & 0o777), type === S_IFIFO ? 0n : device);
        utimensat(parent, name, timeOf(header));
        return;
      }
      default:
        throw refused(header.name, `is of a kind that cannot be copied (${header.type ?? 'unknown'})`);
    }
  }

  #hardLink(parent: number, name: string, header: Header): void {
    const source = this.#parts(header.linkname ?? '', header.name);
    const sourceName = source.at(-1);
    if (sourceName === undefined) throw refused(header.name, 'is a hard link to a folder');
    const from = this.#openParent(source.slice(0, -1), header.name);
    try {
      linkat(from, sourceName, parent, name);
    } finally {
      closeSync(from);
    }
  }
}

const beneath = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;

function modeOf({ mode }: Header): number {
  return (mode ?? 0o644) & 0o7777;
}

/** PAX times have a fraction (pax(1)). */
function timeOf({ pax, mtime }: Header): bigint {
  const match = /^(\d{1,12})(?:\.(\d{1,9})\d*)?$/.exec((pax as Record<string, string> | undefined)?.mtime ?? '');
  if (match === null) return BigInt(mtime?.getTime() ?? 0) * 1_000_000n;
  return BigInt(match[1]!) * 1_000_000_000n + BigInt((match[2] ?? '').padEnd(9, '0'));
}

/** Where the file system has none, or the user may not, a file is copied without. */
function setAttribute(fd: number, name: string, value: string): void {
  try {
    fsetxattr(fd, `user.${name}`, Buffer.from(value));
  } catch (error) {
    if (!isErrno(error, 'EOPNOTSUPP', 'EPERM', 'EACCES')) throw error;
  }
}

function asRefusal(error: unknown, entry: string): unknown {
  if (!isErrno(error, 'EXDEV', 'ELOOP', 'ENOTDIR')) return error;
  return refused(entry, 'lies in what is no folder below the one that it goes to');
}

function refused(entry: string, problem: string): FlotillaError {
  return new FlotillaError('invalid_argument', `entry ${JSON.stringify(entry)} ${problem}`, {
    reason: 'ENTRY_REFUSED',
    metadata: { entry },
  });
}

function conflict(message: string, path: string): FlotillaError {
  return new FlotillaError('invalid_argument', message, { reason: 'DIRECTORY_CONFLICT', metadata: { path } });
}
