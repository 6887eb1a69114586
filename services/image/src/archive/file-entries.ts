import { closeSync, constants, readSync } from 'node:fs';
import {
  type FileStatus,
  isErrno,
  openat,
  readlinkBytesAt,
  readXattrsAt,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  SyscallError,
  statAt,
} from '@flotilla/linux';
import { paddingBytes, type TarEntry, tarHeader } from '@flotilla/oci/tar-header';
import { isImageAttribute } from '../domain/image-attribute.ts';
import { type BytePath, forSyscall } from './byte-path.ts';
import type { TarOutput } from './tar-output.ts';

const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK, O_NOCTTY } = constants;
const noXattrs: ReadonlyMap<string, Buffer> = new Map();

/** A file in an open folder. */
export interface FoundFile {
  readonly parent: number;
  readonly name: BytePath;
  /** Its path in the tar. */
  readonly path: BytePath;
  readonly status: FileStatus;
}

/**
 * Writes files into a tar as they are: owner, mode, time, attributes, links, devices; holes as zeros, for readers there are
 * that cannot keep them (docker's, which writes layers anew). Sockets are left out. A file that is changed meanwhile has
 * the size that it had when it was opened.
 */
export class FileEntries {
  readonly #output: TarOutput;
  /** The first name of each file that has several. */
  readonly #links = new Map<string, BytePath>();

  constructor(output: TarOutput) {
    this.#output = output;
  }

  /** False when nothing is written: of a socket, and of what has gone since it was looked at. */
  write({ parent, name, path, status }: FoundFile): boolean {
    try {
      return this.#write(parent, name, path, status);
    } catch (error) {
      // Ours come before its header is written; what node:fs meets when it reads or writes data would break the tar.
      if (error instanceof SyscallError && isErrno(error, 'ENOENT', 'ELOOP', 'EINVAL')) return false;
      throw error;
    }
  }

  #write(parent: number, name: BytePath, path: BytePath, status: FileStatus): boolean {
    const kind = status.mode & S_IFMT;
    const first = kind === S_IFDIR || status.links < 2 ? undefined : this.#links.get(keyOf(status));
    if (first !== undefined) {
      this.#header({ path, type: 'link', status, target: first });
      return true;
    }
    const at = forSyscall(name);
    switch (kind) {
      case S_IFREG:
        if (!this.#file(parent, name, path)) return false;
        break;
      case S_IFDIR:
        this.#header({ path, type: 'directory', status, xattrs: xattrsOf(parent, at) });
        break;
      case S_IFLNK: {
        const target = readlinkBytesAt(parent, at).toString('latin1');
        this.#header({ path, type: 'symlink', status, target, xattrs: xattrsOf(parent, at) });
        break;
      }
      case S_IFCHR:
      case S_IFBLK:
      case S_IFIFO: {
        const type = kind === S_IFIFO ? 'fifo' : kind === S_IFCHR ? 'character-device' : 'block-device';
        const device = kind === S_IFIFO ? undefined : status.specialDevice;
        this.#header({ path, type, status, device, xattrs: xattrsOf(parent, at) });
        break;
      }
      default:
        return false; // A socket.
    }
    if (kind !== S_IFDIR && status.links > 1) this.#links.set(keyOf(status), path);
    return true;
  }

  /** False when it is another file meanwhile. */
  #file(parent: number, name: BytePath, path: BytePath): boolean {
    const fd = openat(parent, forSyscall(name), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    try {
      const status = statAt(fd, '');
      if ((status.mode & S_IFMT) !== S_IFREG) return false;
      const sizeBytes = status.sizeBytes;
      this.#header({ path, type: 'file', status, sizeBytes, xattrs: xattrsOf(parent, forSyscall(name)) });
      const got = this.#output.fill(sizeBytes, (into) => readSync(fd, into));
      this.#output.zeros(sizeBytes - got + paddingBytes(sizeBytes));
      return true;
    } finally {
      closeSync(fd);
    }
  }

  #header({
    status: { mode, uid, gid, modifiedUnixNano },
    sizeBytes = 0,
    ...rest
  }: Pick<TarEntry, 'path' | 'type' | 'target' | 'device' | 'xattrs'> & {
    readonly status: FileStatus;
    readonly sizeBytes?: number;
  }): void {
    this.#output.write(tarHeader({ ...rest, mode: mode & 0o7777, uid, gid, modifiedUnixNano, sizeBytes }));
  }
}

function keyOf({ device, inode }: FileStatus): string {
  return `${device.join()}:${inode}`;
}

/** Attributes that an archive may bring, in order: those that are unpacked, too. */
function xattrsOf(parent: number, name: string | Buffer): ReadonlyMap<string, Buffer> {
  let all: Map<string, Buffer>;
  try {
    all = readXattrsAt(parent, name);
  } catch (error) {
    if (isErrno(error, 'EOPNOTSUPP', 'ENODATA')) return noXattrs;
    throw error;
  }
  if (all.size === 0) return noXattrs;
  return new Map([...all].filter(([attribute]) => isImageAttribute(attribute)).sort(([a], [b]) => (a < b ? -1 : 1)));
}
