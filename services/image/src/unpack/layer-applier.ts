import { closeSync, constants, fchmodSync, fchownSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import {
  fchmodat,
  fchownat,
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
  RESOLVE_IN_ROOT,
  RESOLVE_NO_MAGICLINKS,
  readXattrsAt,
  removeAt,
  S_IFBLK,
  S_IFCHR,
  S_IFIFO,
  S_IFMT,
  setxattrAt,
  statAt,
  symlinkat,
  utimensat,
} from '@flotilla/linux';
import { isImageAttribute } from '../domain/image-attribute.ts';
import { removeIdleWhiteouts } from './idle-whiteouts.ts';
import { components, type LayerEntry } from './layer-entry.ts';
import { entryRefused } from './layer-error.ts';

const { O_RDONLY, O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW, O_DIRECTORY } = constants;
const inRoot = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
const whiteout = '.wh.';
const opaque = '.wh..wh..opq';
const yes = Buffer.from('y');

/**
 * Writes a layer's entries below one directory, in overlayfs's form (kernel doc, filesystems/overlayfs.rst). Every call is
 * relative to a descriptor that the kernel resolved inside that directory; a name is resolved once, and a link as last
 * component is never followed.
 */
export class LayerApplier {
  readonly #rootFd: number;
  /** Directories get their time last: writing into them changes it. */
  readonly #directories: { readonly path: string; readonly modifiedUnixNano: bigint }[] = [];
  /** What this layer hides, from its root. */
  readonly #whiteouts: string[] = [];
  /** The directory that the last entry was in: most entries come one after the other. */
  #parent: { readonly path: string; readonly fd: number } | undefined;

  /** Roots of the layers below, uppermost first. */
  readonly #below: readonly number[];

  constructor(rootFd: number, below: readonly string[]) {
    this.#rootFd = rootFd;
    this.#below = below.map((path) => openSync(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    // A layer need not have an entry for its root.
    this.#copyFromBelow('.', rootFd, '.');
  }

  /** Applies one entry; for a regular file the result is the descriptor to write to, then to be given to `finishFile`. */
  apply(entry: LayerEntry): number | undefined {
    const name = entry.path.at(-1);
    if (name === undefined) {
      if (entry.type !== 'directory') throw entryRefused(entry.name, 'would replace the root');
      this.#setAttributes(this.#rootFd, '.', entry);
      this.#directories.push({ path: '.', modifiedUnixNano: entry.modifiedUnixNano });
      return undefined;
    }
    const parent = this.#openParent(entry);
    if (name.startsWith(whiteout)) {
      this.#hide(parent, name, entry);
      return undefined;
    }
    return this.#make(parent, name, entry);
  }

  /** Gives a written file its attributes and closes it. */
  finishFile(fd: number, entry: LayerEntry): void {
    try {
      fchownSync(fd, entry.uid, entry.gid);
      for (const [attribute, value] of entry.xattrs) if (isImageAttribute(attribute)) fsetxattr(fd, attribute, value);
      fchmodSync(fd, entry.mode);
      futimens(fd, entry.modifiedUnixNano);
    } finally {
      closeSync(fd);
    }
  }

  /** What can only be done once everything is there. */
  finish(): void {
    removeIdleWhiteouts(this.#rootFd, this.#below, this.#whiteouts);
    for (const { path, modifiedUnixNano } of this.#directories) {
      let fd: number;
      try {
        fd = openat2(this.#rootFd, path, { flags: O_RDONLY | O_DIRECTORY | O_NOFOLLOW, resolve: inRoot });
      } catch (error) {
        if (isErrno(error, 'ENOENT', 'ENOTDIR', 'ELOOP')) continue; // A later entry has replaced it.
        throw error;
      }
      try {
        futimens(fd, modifiedUnixNano);
      } finally {
        closeSync(fd);
      }
    }
  }

  close(): void {
    this.#leaveParent();
    for (const fd of this.#below) closeSync(fd);
  }

  #leaveParent(): void {
    if (this.#parent !== undefined) closeSync(this.#parent.fd);
    this.#parent = undefined;
  }

  #make(parent: number, name: string, entry: LayerEntry): number | undefined {
    switch (entry.type) {
      case 'file':
      case 'contiguous-file':
        return replacing(parent, name, () => openat(parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600));
      case 'directory':
        this.#makeDirectory(parent, name, entry);
        return undefined;
      case 'symlink':
        if (entry.linkname === '' || entry.linkname.includes('\0')) throw entryRefused(entry.name, 'links to nothing');
        replacing(parent, name, () => symlinkat(entry.linkname, parent, name));
        break;
      case 'link':
        this.#makeHardLink(parent, name, entry);
        return undefined;
      case 'character-device':
      case 'block-device':
        replacing(parent, name, () =>
          mknodat(
            parent,
            name,
            (entry.type === 'block-device' ? S_IFBLK : S_IFCHR) | 0o600,
            makeDevice(...entry.device),
          ),
        );
        break;
      case 'fifo':
        replacing(parent, name, () => mknodat(parent, name, S_IFIFO | 0o600));
        break;
      default:
        throw entryRefused(entry.name, `is of a kind that no layer has (${entry.type ?? 'unknown'})`);
    }
    this.#setAttributes(parent, name, entry);
    utimensat(parent, name, entry.modifiedUnixNano);
    return undefined;
  }

  #makeDirectory(parent: number, name: string, entry: LayerEntry): void {
    try {
      mkdirat(parent, name, 0o700);
    } catch (error) {
      if (!isErrno(error, 'EEXIST')) throw error;
      if (!isDirectory(parent, name)) this.#replaceByDirectory(parent, name);
    }
    this.#setAttributes(parent, name, entry);
    this.#directories.push({ path: entry.path.join('/'), modifiedUnixNano: entry.modifiedUnixNano });
  }

  #replaceByDirectory(parent: number, name: string): void {
    const { mode, specialDevice } = statAt(parent, name);
    const hid = (mode & S_IFMT) === S_IFCHR && specialDevice.join() === '0,0';
    replacing(parent, name, () => mkdirat(parent, name, 0o700));
    // What the whiteout hid stays hidden.
    if (hid) setxattrAt(parent, name, 'trusted.overlay.opaque', yes);
  }

  #makeHardLink(parent: number, name: string, entry: LayerEntry): void {
    const source = components(entry.linkname, entry.name);
    const sourceName = source.at(-1);
    if (sourceName === undefined) throw entryRefused(entry.name, 'is a hard link to the root');
    let from: number;
    try {
      from = this.#openDirectory(source.slice(0, -1));
    } catch (error) {
      throw linkRefused(error, entry);
    }
    try {
      replacing(parent, name, () => linkat(from, sourceName, parent, name));
    } catch (error) {
      throw linkRefused(error, entry);
    } finally {
      closeSync(from);
    }
  }

  #hide(parent: number, name: string, entry: LayerEntry): void {
    if (name === opaque) {
      setxattrAt(parent, '.', 'trusted.overlay.opaque', yes);
      return;
    }
    if (name.startsWith('.wh..wh.')) return; // What aufs kept for itself.
    const hidden = name.slice(whiteout.length);
    if (hidden === '' || hidden === '.' || hidden === '..') throw entryRefused(entry.name, 'hides no name');
    try {
      mknodat(parent, hidden, S_IFCHR | 0o600);
      this.#whiteouts.push([...entry.path.slice(0, -1), hidden].join('/'));
    } catch (error) {
      if (!isErrno(error, 'EEXIST')) throw error;
      // A whiteout hides what is below, not what this layer has itself (OCI image-spec, layer.md, Whiteouts).
      if (isDirectory(parent, hidden)) setxattrAt(parent, hidden, 'trusted.overlay.opaque', yes);
    }
  }

  #setAttributes(parent: number, name: string, entry: LayerEntry): void {
    fchownat(parent, name, entry.uid, entry.gid);
    for (const [attribute, value] of entry.xattrs)
      if (isImageAttribute(attribute)) setxattrAt(parent, name, attribute, value);
    // Made by us as something that is no link: chmod, which follows links, stays where it is.
    if (entry.type !== 'symlink') fchmodat(parent, name, entry.mode);
  }

  #openParent(entry: LayerEntry): number {
    const parts = entry.path.slice(0, -1);
    const path = parts.join('/');
    if (this.#parent?.path === path) return this.#parent.fd;
    this.#leaveParent();
    try {
      const fd = this.#openOrMake(parts);
      this.#parent = { path, fd };
      return fd;
    } catch (error) {
      if (isErrno(error, 'ENOTDIR', 'ELOOP', 'EXDEV', 'EEXIST', 'ENAMETOOLONG', 'ENOENT')) {
        throw entryRefused(
          entry.name,
          `lies in what is no directory inside the root (${(error as NodeJS.ErrnoException).code})`,
        );
      }
      throw error;
    }
  }

  /** Opens a directory below the root; what is missing on the way is made. */
  #openOrMake(parts: readonly string[]): number {
    try {
      return this.#openDirectory(parts);
    } catch (error) {
      if (!isErrno(error, 'ENOENT')) throw error;
    }
    const above = this.#openOrMake(parts.slice(0, -1));
    try {
      mkdirat(above, parts.at(-1)!, 0o755);
      fchmodat(above, parts.at(-1)!, 0o755);
      this.#copyFromBelow(parts.join('/'), above, parts.at(-1)!);
    } finally {
      closeSync(above);
    }
    return this.#openDirectory(parts);
  }

  /** A directory that this layer has only for what is in it looks as in the uppermost layer that has it. */
  #copyFromBelow(path: string, parent: number, name: string): void {
    for (const root of this.#below) {
      let fd: number;
      try {
        fd = openat2(root, path, { flags: O_RDONLY | O_DIRECTORY | O_NOFOLLOW, resolve: inRoot });
      } catch (error) {
        if (isErrno(error, 'ENOENT')) continue;
        if (isErrno(error, 'ENOTDIR', 'ELOOP', 'EXDEV')) return; // Hidden, or no directory there.
        throw error;
      }
      try {
        const { uid, gid, mode, modifiedUnixNano } = statAt(fd, '');
        fchownat(parent, name, uid, gid);
        for (const [key, value] of readXattrsAt(fd, '.'))
          if (isImageAttribute(key)) setxattrAt(parent, name, key, value);
        fchmodat(parent, name, mode & 0o7777);
        this.#directories.push({ path, modifiedUnixNano });
      } finally {
        closeSync(fd);
      }
      return;
    }
  }

  #openDirectory(parts: readonly string[]): number {
    const path = parts.length === 0 ? '.' : parts.join('/');
    return openat2(this.#rootFd, path, { flags: O_PATH | O_DIRECTORY, resolve: inRoot });
  }
}

/** Makes something where an earlier entry may stand. */
export function replacing<T>(parent: number, name: string, make: () => T): T {
  try {
    return make();
  } catch (error) {
    if (!isErrno(error, 'EEXIST')) throw error;
  }
  removeAt(parent, name);
  return make();
}

function isDirectory(parent: number, name: string): boolean {
  try {
    closeSync(openat(parent, name, O_PATH | O_DIRECTORY | O_NOFOLLOW));
    return true;
  } catch (error) {
    if (isErrno(error, 'ENOTDIR', 'ELOOP')) return false;
    throw error;
  }
}

function linkRefused(error: unknown, entry: LayerEntry): unknown {
  if (!isErrno(error, 'ENOENT', 'ENOTDIR', 'ELOOP', 'EXDEV', 'EPERM')) return error;
  return entryRefused(
    entry.name,
    `is a hard link to ${JSON.stringify(entry.linkname)}, which is no file of this layer`,
  );
}

/** Writes all of some bytes. */
export function writeAll(fd: number, data: Uint8Array, position: number | null): void {
  for (let done = 0; done < data.length; ) {
    done += writeSync(fd, data, done, data.length - done, position === null ? null : position + done);
  }
}

/** Cuts or extends a file. */
export function setSize(fd: number, sizeBytes: number): void {
  ftruncateSync(fd, sizeBytes);
}
