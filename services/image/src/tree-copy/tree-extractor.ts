import { chmodSync, closeSync, constants, fchmodSync, fchownSync } from 'node:fs';
import {
  type FileStatus,
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
  removeAt,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFMT,
  setxattrAt,
  statAt,
  symlinkat,
  utimensat,
} from '@flotilla/linux';
import { isImageAttribute } from '../domain/image-attribute.ts';
import { replacing } from '../unpack/layer-applier.ts';
import { components, type LayerEntry } from '../unpack/layer-entry.ts';
import { entryRefused } from '../unpack/layer-error.ts';
import { directoryConflict, toCopyError } from './copy-error.ts';
import { inRoot, isKernels } from './find-path.ts';
import { ownFd } from './open-tree.ts';

const { O_RDONLY, O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW, O_DIRECTORY } = constants;

export interface ExtractorOptions {
  /** The container's root: links are followed in it. */
  readonly root: number;
  /** Components of the folder that entries are relative to. */
  readonly destination: readonly string[];
  readonly noOverwriteDirNonDir: boolean;
  /** Whom all belongs to; whom the tar says when it is undefined. */
  readonly owner: { readonly uid: number; readonly gid: number } | undefined;
}

/**
 * Writes a tar's entries into a container that may be running, and may change what it has at any moment. Folders are opened
 * within the root, by the kernel; everything else is done to one name in an open folder without following a link there, or
 * to what has been opened. So what is changed meanwhile may go wrong, but never leaves the container.
 */
export class TreeExtractor implements Disposable {
  readonly #options: ExtractorOptions;
  /** Folders get their time last: writing into them changes it. */
  readonly #directories: { readonly path: string; readonly modifiedUnixNano: bigint }[] = [];
  #parent: { readonly path: string; readonly fd: number } | undefined;

  constructor(options: ExtractorOptions) {
    this.#options = options;
  }

  /** Applies one entry; for a regular file the result is the descriptor to write to, then to be given to `finishFile`. */
  apply(entry: LayerEntry): number | undefined {
    const name = entry.path.at(-1);
    // The folder itself stays as it is.
    if (name === undefined) {
      if (entry.type !== 'directory') throw entryRefused(entry.name, 'would replace the folder that it goes to');
      return undefined;
    }
    try {
      const parent = this.#openParent(entry);
      this.#makeWay(parent, name, entry);
      return this.#make(parent, name, entry);
    } catch (error) {
      throw toCopyError(error, entry.name);
    }
  }

  /** Gives a written file its attributes and closes it. */
  finishFile(fd: number, entry: LayerEntry): void {
    try {
      this.#setAttributes(fd, entry);
      futimens(fd, entry.modifiedUnixNano);
    } catch (error) {
      throw toCopyError(error, entry.name);
    } finally {
      closeSync(fd);
    }
  }

  /** What can only be done once everything is there. */
  finish(): void {
    for (const { path, modifiedUnixNano } of this.#directories) {
      try {
        using folder = ownFd(
          openat2(this.#options.root, path, { flags: O_RDONLY | O_DIRECTORY | O_NOFOLLOW, resolve: inRoot }),
        );
        futimens(folder.fd, modifiedUnixNano);
      } catch (error) {
        // Something else stands there by now.
        if (!isErrno(error, 'ENOENT', 'ENOTDIR', 'ELOOP')) throw toCopyError(error, path);
      }
    }
  }

  [Symbol.dispose](): void {
    if (this.#parent !== undefined) closeSync(this.#parent.fd);
    this.#parent = undefined;
  }

  /** Takes away what stands where the entry goes. A folder stays where a folder comes. */
  #makeWay(parent: number, name: string, entry: LayerEntry): void {
    const before = findStatus(parent, name);
    if (before === undefined) return;
    const [wasFolder, isFolder] = [(before.mode & S_IFMT) === S_IFDIR, entry.type === 'directory'];
    if (wasFolder && isFolder) return;
    if (this.#options.noOverwriteDirNonDir && wasFolder !== isFolder) throw this.#conflict(entry, wasFolder);
    removeAt(parent, name);
  }

  #conflict(entry: LayerEntry, wasFolder: boolean) {
    const destination = `/${this.#options.destination.join('/')}`;
    const path = `${destination === '/' ? '' : destination}/${entry.path.join('/')}`;
    const message = wasFolder
      ? `cannot overwrite directory "${path}" with non-directory "${destination}"`
      : `cannot overwrite non-directory "${path}" with directory "${destination}"`;
    return directoryConflict(message, path);
  }

  #make(parent: number, name: string, entry: LayerEntry): number | undefined {
    switch (entry.type) {
      case 'file':
      case 'contiguous-file':
        return replacing(parent, name, () => openat(parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600));
      case 'directory':
        this.#makeDirectory(parent, name, entry);
        return undefined;
      case 'link':
        this.#makeHardLink(parent, name, entry);
        return undefined;
      case 'symlink':
        if (entry.linkname === '' || entry.linkname.includes('\0')) throw entryRefused(entry.name, 'links to nothing');
        replacing(parent, name, () => symlinkat(entry.linkname, parent, name));
        this.#ownLink(parent, name, entry);
        return undefined;
      case 'character-device':
      case 'block-device': {
        const type = entry.type === 'block-device' ? S_IFBLK : S_IFCHR;
        replacing(parent, name, () => mknodat(parent, name, type | 0o600, makeDevice(...entry.device)));
        this.#ownNode(parent, name, entry);
        return undefined;
      }
      case 'fifo':
        replacing(parent, name, () => mknodat(parent, name, S_IFIFO | 0o600));
        this.#ownNode(parent, name, entry);
        return undefined;
      default:
        throw entryRefused(entry.name, `is of a kind that cannot be copied (${entry.type ?? 'unknown'})`);
    }
  }

  #makeDirectory(parent: number, name: string, entry: LayerEntry): void {
    try {
      mkdirat(parent, name, 0o700);
    } catch (error) {
      if (!isErrno(error, 'EEXIST')) throw error;
    }
    using made = ownFd(openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    this.#setAttributes(made.fd, entry);
    const path = [...this.#options.destination, ...entry.path].join('/');
    this.#directories.push({ path, modifiedUnixNano: entry.modifiedUnixNano });
  }

  #makeHardLink(parent: number, name: string, entry: LayerEntry): void {
    const source = [...this.#options.destination, ...components(entry.linkname, entry.name)];
    const sourceName = source.at(-1);
    if (sourceName === undefined) throw entryRefused(entry.name, 'is a hard link to the root');
    using from = ownFd(this.#openFolder(source.slice(0, -1)));
    replacing(parent, name, () => linkat(from.fd, sourceName, parent, name));
  }

  /** A file or folder by its descriptor. */
  #setAttributes(fd: number, entry: LayerEntry): void {
    const { uid, gid } = this.#ownerOf(entry);
    fchownSync(fd, uid, gid);
    for (const [attribute, value] of entry.xattrs) if (isImageAttribute(attribute)) fsetxattr(fd, attribute, value);
    fchmodSync(fd, entry.mode);
  }

  /** None of these calls follows a link. */
  #ownLink(parent: number, name: string, entry: LayerEntry): void {
    const { uid, gid } = this.#ownerOf(entry);
    fchownat(parent, name, uid, gid);
    for (const [key, value] of entry.xattrs) if (isImageAttribute(key)) setxattrAt(parent, name, key, value);
    utimensat(parent, name, entry.modifiedUnixNano);
  }

  /** A device or FIFO: found again without opening what it stands for, and changed only if it still is one. */
  #ownNode(parent: number, name: string, entry: LayerEntry): void {
    this.#ownLink(parent, name, entry);
    using node = ownFd(openat(parent, name, O_PATH | O_NOFOLLOW));
    const type = statAt(node.fd, '').mode & S_IFMT;
    if (type !== S_IFBLK && type !== S_IFCHR && type !== S_IFIFO) return;
    chmodSync(`/proc/self/fd/${node.fd}`, entry.mode);
  }

  #ownerOf({ uid, gid }: LayerEntry): { readonly uid: number; readonly gid: number } {
    return this.#options.owner ?? { uid, gid };
  }

  #openParent(entry: LayerEntry): number {
    const parts = [...this.#options.destination, ...entry.path.slice(0, -1)];
    const path = parts.join('/');
    if (this.#parent?.path === path) return this.#parent.fd;
    this[Symbol.dispose]();
    const fd = this.#openOrMake(parts);
    this.#parent = { path, fd };
    if (isKernels(fd)) throw entryRefused(entry.name, 'would go into a file system of the kernel');
    return fd;
  }

  /** Opens a folder within the root; what is missing on the way is made. */
  #openOrMake(parts: readonly string[]): number {
    try {
      return this.#openFolder(parts);
    } catch (error) {
      if (!isErrno(error, 'ENOENT') || parts.length <= this.#options.destination.length) throw error;
    }
    using above = ownFd(this.#openOrMake(parts.slice(0, -1)));
    const name = parts.at(-1)!;
    try {
      mkdirat(above.fd, name, 0o700);
      using made = ownFd(openat(above.fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
      const { uid, gid } = this.#options.owner ?? { uid: 0, gid: 0 };
      fchownSync(made.fd, uid, gid);
      fchmodSync(made.fd, 0o755);
    } catch (error) {
      if (!isErrno(error, 'EEXIST')) throw error;
    }
    return this.#openFolder(parts);
  }

  #openFolder(parts: readonly string[]): number {
    const path = parts.length === 0 ? '.' : parts.join('/');
    return openat2(this.#options.root, path, { flags: O_PATH | O_DIRECTORY, resolve: inRoot });
  }
}

function findStatus(parent: number, name: string): FileStatus | undefined {
  try {
    return statAt(parent, name);
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined;
    throw error;
  }
}
