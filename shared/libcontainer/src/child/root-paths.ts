import { constants } from 'node:fs';
import {
  closeFd,
  isErrno,
  mkdirat,
  O_PATH,
  openat2,
  RESOLVE_IN_ROOT,
  RESOLVE_NO_MAGICLINKS,
  RESOLVE_NO_SYMLINKS,
  readlinkat,
  SyscallError,
} from '@flotilla/linux';
import { cleanPath } from '../plan/mount-plan.ts';

// Every path inside a container's root is somebody else's: links in it lead where its image wants. So the kernel resolves
// it with the container's root as root, to a descriptor, and only the descriptor is used from then on.

const inRoot = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
const ELOOP = 40;
const mostLinks = 40;

/** How to open below a root. */
export interface OpenInRoot {
  readonly flags?: number;
  readonly mode?: number;
  /** A link anywhere in the path is an error (ELOOP). */
  readonly noLinks?: boolean;
}

/** openat2(2) with `rootFd` as root; O_PATH unless told otherwise. The path is absolute. */
export function openInRoot(
  rootFd: number,
  path: string,
  { flags = O_PATH, mode, noLinks = false }: OpenInRoot = {},
): number {
  const resolve = inRoot | (noLinks ? RESOLVE_NO_SYMLINKS : 0);
  return openat2(rootFd, path, mode === undefined ? { flags, resolve } : { flags, mode, resolve });
}

/** The same; `undefined` when it does not exist. */
export function findInRoot(rootFd: number, path: string, options: OpenInRoot = {}): number | undefined {
  try {
    return openInRoot(rootFd, path, options);
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return undefined;
    throw error;
  }
}

/** Opens a folder, making those that are missing (mode 0755) one at a time. ENOTDIR when a file is in the way. */
export function ensureFolder(rootFd: number, path: string, noLinks = false): number {
  const flags = O_PATH | constants.O_DIRECTORY;
  try {
    return openInRoot(rootFd, path, { flags, noLinks });
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error;
  }
  return makeFolders(rootFd, path, { flags, noLinks }, 0);
}

function makeFolders(rootFd: number, path: string, options: OpenInRoot, links: number): number {
  const parts = path.split('/').filter((part) => part !== '');
  let parentFd = openInRoot(rootFd, '/', options);
  try {
    let reached = '';
    for (const [i, part] of parts.entries()) {
      const next = `${reached}/${part}`;
      let fd = openFolder(rootFd, next, options) ?? makeFolder(rootFd, parentFd, next, options);
      if (fd === undefined) {
        // A link that leads nowhere yet: its target is made instead.
        if (links >= mostLinks) throw new SyscallError('openat2', ELOOP, path);
        const target = cleanPath(resolveLink(reached, readlinkat(parentFd, part)), path);
        fd = makeFolders(rootFd, [target, ...parts.slice(i + 1)].join('/'), options, links + 1);
        closeFd(parentFd);
        parentFd = -1;
        return fd;
      }
      closeFd(parentFd);
      parentFd = fd;
      reached = next;
    }
    const result = parentFd;
    parentFd = -1;
    return result;
  } finally {
    if (parentFd !== -1) closeFd(parentFd);
  }
}

const resolveLink = (folder: string, target: string): string =>
  target.startsWith('/') ? target : `${folder}/${target}`;

function openFolder(rootFd: number, path: string, options: OpenInRoot): number | undefined {
  try {
    return openInRoot(rootFd, path, options);
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined;
    throw error;
  }
}

/** `undefined` when a link is there that leads nowhere. */
function makeFolder(rootFd: number, parentFd: number, path: string, options: OpenInRoot): number | undefined {
  try {
    mkdirat(parentFd, path.slice(path.lastIndexOf('/') + 1), 0o755);
  } catch (error) {
    if (!isErrno(error, 'EEXIST')) throw error;
  }
  return openFolder(rootFd, path, options);
}

/** Folder and last part of a path that is not the root itself. */
export function splitPath(path: string): { readonly folder: string; readonly name: string } {
  const slash = path.lastIndexOf('/');
  return { folder: path.slice(0, slash) || '/', name: path.slice(slash + 1) };
}

/** Opens a file, making an empty one (0644) and its folders when it is missing. Follows links within the root. */
export function ensureFile(rootFd: number, path: string, links = 0): number {
  const found = findInRoot(rootFd, path);
  if (found !== undefined) return found;
  const { folder, name } = splitPath(path);
  const folderFd = ensureFolder(rootFd, folder);
  try {
    const flags = constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY | constants.O_NOFOLLOW;
    closeFd(openat2(folderFd, name, { flags, mode: 0o644, resolve: RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS }));
    return openat2(folderFd, name, { flags: O_PATH | constants.O_NOFOLLOW });
  } catch (error) {
    if (!isErrno(error, 'EEXIST') || links >= mostLinks) throw error;
    // A link that leads nowhere yet: the file it leads to is made instead.
    return ensureFile(rootFd, cleanPath(resolveLink(folder, readlinkat(folderFd, name)), path), links + 1);
  } finally {
    closeFd(folderFd);
  }
}
