import { chmodSync, closeSync, constants, mkdirSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { AT_FDCWD, fchmodat, fchownat, isErrno, readXattrsAt, setxattrAt, statAt, utimensat } from '@flotilla/linux';
import { isImageAttribute } from '../../domain/image-attribute.ts';
import { shred } from '../shred.ts';
import type { MountDescription, Snapshotter } from './snapshotter.ts';

const mostKnown = 512;

/**
 * Layers over one another in the kernel: a snapshot is two empty folders. The mount's options are Linux's own defaults, made
 * explicit only where a host has others:
 * - `metacopy=off`, `redirect_dir=off`: a file whose owner or mode changed is copied whole, and a folder is not renamed but
 *   copied by the one who renames it. Otherwise the writable layer would hold files without data and names that mean others, which
 *   neither another mount nor an image made of it would understand; and the kernel's documentation warns of metacopy with layers
 *   from others.
 * - `index=off`: a writable layer may be mounted again when its last mount is not quite gone.
 * `userxattr` is never given: it is for mounters without CAP_SYS_ADMIN, and makes `user.overlay.*`, which an image may bring, mean
 * what only `trusted.overlay.*`, which an image may not, means here.
 */
export class OverlayfsSnapshotter implements Snapshotter {
  readonly name = 'overlayfs';
  readonly stacked = true;
  readonly #options: readonly string[];
  /** By layer. */
  readonly #looksOf = new Map<string, (folder: string) => void>();

  constructor(parameters = '/sys/module/overlay/parameters') {
    this.#options = ['metacopy', 'redirect_dir', 'index']
      .filter((name) => isOn(join(parameters, name)))
      .map((name) => `${name}=off`);
  }

  async beginLayer(folder: string): Promise<string> {
    const directory = join(folder, 'fs');
    mkdirSync(directory, { recursive: true, mode: 0o755 });
    chmodSync(directory, 0o755);
    return directory;
  }

  async finishLayer(): Promise<void> {}

  makeSnapshot(folder: string, [top]: readonly string[]): void {
    mkdirSync(join(folder, 'work'), { recursive: true, mode: 0o700 });
    const upper = join(folder, 'fs');
    mkdirSync(upper, { mode: 0o755 });
    if (top === undefined) chmodSync(upper, 0o755);
    else this.#looks(top)(upper); // the root of an overlay looks as its upper directory does
  }

  /** Gives another folder the looks of a layer's, which never change: every start waits for this. */
  #looks(top: string): (folder: string) => void {
    const known = this.#looksOf.get(top);
    if (known !== undefined) return known;
    const looks = looksOf(top);
    if (this.#looksOf.size === mostKnown) this.#looksOf.clear();
    this.#looksOf.set(top, looks);
    return looks;
  }

  mounts(folder: string, layers: readonly string[]): MountDescription[] {
    const upper = join(folder, 'fs');
    if (layers.length === 0) return [bindOf(upper)];
    const options = [`lowerdir=${layers.join(':')}`, `upperdir=${upper}`, `workdir=${join(folder, 'work')}`];
    return [{ type: 'overlay', source: 'overlay', options: [...options, ...this.#options] }];
  }

  remove(folder: string): Promise<void> {
    return shred(folder);
  }
}

/** Only what differs from a new folder is set: each change is one more for the journal. */
function looksOf(top: string): (folder: string) => void {
  const { uid, gid, mode, modifiedUnixNano } = statAt(AT_FDCWD, top);
  const xattrs = within(top, (fd) => [...readXattrsAt(fd, '.')].filter(([name]) => isImageAttribute(name)));
  return (folder) => {
    if (uid !== 0 || gid !== 0) fchownat(AT_FDCWD, folder, uid, gid);
    if (xattrs.length > 0) {
      within(folder, (fd) => {
        for (const [name, value] of xattrs) setxattrAt(fd, '.', name, value);
      });
    }
    fchmodat(AT_FDCWD, folder, mode & 0o7777);
    utimensat(AT_FDCWD, folder, modifiedUnixNano);
  };
}

function within<T>(folder: string, work: (fd: number) => T): T {
  const fd = openSync(folder, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    return work(fd);
  } finally {
    closeSync(fd);
  }
}

/** A folder as a root. */
export function bindOf(folder: string): MountDescription {
  return { type: 'bind', source: folder, options: ['rbind', 'rw'] };
}

/** A module's parameter; one that the kernel does not know is off. */
function isOn(path: string): boolean {
  try {
    return readFileSync(path, 'utf8').startsWith('Y');
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return false;
    throw error;
  }
}
