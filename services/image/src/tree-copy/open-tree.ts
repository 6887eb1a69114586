import { closeSync, constants, fstatSync, openSync } from 'node:fs';
import {
  CLONE_FS,
  CLONE_NEWNS,
  isErrno,
  isSameProcess,
  MOUNT_ATTR_NODEV,
  MOUNT_ATTR_RDONLY,
  MS_BIND,
  MS_PRIVATE,
  MS_REC,
  MS_SLAVE,
  mkdirat,
  mount,
  mountOverlay,
  moveMount,
  O_PATH,
  openat,
  openat2,
  openTree,
  openTreeOf,
  parseOverlay,
  pidfdOpen,
  RESOLVE_BENEATH,
  RESOLVE_IN_ROOT,
  RESOLVE_NO_MAGICLINKS,
  setMountAttributes,
  setns,
  unshare,
} from '@flotilla/linux';
import type { MountDescription } from '../adapters/snapshotters/snapshotter.ts';
import { containerEnded, partRefused } from './copy-error.ts';

const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW, O_CREAT, O_EXCL, O_WRONLY } = constants;
const inRoot = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;

/** A volume or bind mount to be joined. */
export interface JoinedMount {
  readonly source: string;
  readonly target: string;
  readonly readOnly: boolean;
  /** Relative; empty for all of the source. */
  readonly subpath: string;
  readonly nonRecursive: boolean;
  readonly readOnlyNonRecursive: boolean;
}

/** What a container sees, and how one comes to it. */
export type TreeSource = { readonly key: string } & (
  | { readonly kind: 'running'; readonly pid: number; readonly startTime: number }
  | {
      readonly kind: 'stopped';
      readonly rootMounts: readonly MountDescription[];
      readonly mounts: readonly JoinedMount[];
      readonly readOnly: boolean;
      /** An empty folder to mount on, in a namespace of the thread's own. */
      readonly mountPoint: string;
    }
);

/**
 * Opens a container's root with all that is mounted in it, as a tree of mounts that hangs nowhere: nobody sees it, and it is
 * gone with its last descriptor, be it that the process is killed. No device in it can be opened. For a thread:
 * its working directory, root and umask are its own from here on.
 */
export function openContainerTree(source: TreeSource, { writable }: { readonly writable: boolean }): number {
  const tree = source.kind === 'running' ? openRunning(source) : openStopped(source);
  try {
    const set = MOUNT_ATTR_NODEV | (writable ? 0 : MOUNT_ATTR_RDONLY);
    setMountAttributes(tree, { set, propagation: MS_PRIVATE, recursive: true });
    return tree;
  } catch (error) {
    closeSync(tree);
    throw error;
  }
}

/** The root of a running container is in its own mount namespace alone. Nothing but open_tree(2) is done in there. */
function openRunning({ key, pid, startTime }: TreeSource & { readonly kind: 'running' }): number {
  using process = ownFd(findPidfd(pid, key));
  // The descriptor holds the process: if it is the right one now, it was when it was opened.
  if (!isSameProcess(pid, startTime)) throw containerEnded(key);
  return inNamespace(
    () => {
      unshare(CLONE_FS);
      try {
        setns(process.fd, CLONE_NEWNS);
      } catch (error) {
        throw isErrno(error, 'ESRCH') ? containerEnded(key) : error;
      }
    },
    () => openTree('/', { recursive: true }),
  );
}

function findPidfd(pid: number, key: string): number {
  try {
    return pidfdOpen(pid);
  } catch (error) {
    if (isErrno(error, 'ESRCH', 'EINVAL')) throw containerEnded(key);
    throw error;
  }
}

/** Does something in another mount namespace, and comes back: only this thread goes there. */
function inNamespace<T>(enter: () => void, work: () => T): T {
  using own = ownFd(openSync('/proc/thread-self/ns/mnt', O_RDONLY));
  enter();
  try {
    return work();
  } finally {
    setns(own.fd, CLONE_NEWNS);
  }
}

/** Mounts it as a start would, in a namespace that ends when the thread leaves it. Mount points that are missing are made. */
function openStopped(source: TreeSource & { readonly kind: 'stopped' }): number {
  return inNamespace(
    () => unshare(CLONE_FS | CLONE_NEWNS),
    () => assemble(source),
  );
}

function assemble({ rootMounts, mounts, readOnly, mountPoint }: TreeSource & { readonly kind: 'stopped' }): number {
  mount({ target: '/', flags: MS_REC | MS_SLAVE });
  for (const description of rootMounts) mountRoot(description, mountPoint);
  using root = ownFd(openSync(mountPoint, O_PATH | O_DIRECTORY | O_NOFOLLOW));
  for (const one of mounts) join(root.fd, one);
  if (readOnly) setMountAttributes(root.fd, { set: MOUNT_ATTR_RDONLY });
  return openTreeOf(root.fd, { recursive: true });
}

function mountRoot({ type, source, options }: MountDescription, target: string): void {
  if (type === 'bind') mount({ source, target, flags: MS_BIND | MS_REC });
  else if (type === 'overlay') mountOverlay(target, parseOverlay(options));
  else mount({ type, source, target, data: options.join(',') });
}

function join(root: number, mount: JoinedMount): void {
  const { source, target, readOnly, subpath, nonRecursive, readOnlyNonRecursive } = mount;
  const recursive = !nonRecursive;
  using from = ownFd(subpath === '' ? openTree(source, { recursive }) : openPart(source, subpath));
  const isFolder = fstatSync(from.fd).isDirectory();
  if (readOnly) setMountAttributes(from.fd, { set: MOUNT_ATTR_RDONLY, recursive: recursive && !readOnlyNonRecursive });
  using on = ownFd(openMountPoint(root, target, isFolder));
  moveMount(from.fd, on.fd, target);
}

/** Containers write there: the kernel resolves the path below the open folder, and what it found is what is joined. */
function openPart(source: string, subpath: string): number {
  using folder = ownFd(openSync(source, O_PATH | O_DIRECTORY));
  try {
    using part = ownFd(
      openat2(folder.fd, subpath, { flags: O_PATH, resolve: RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS }),
    );
    return openTreeOf(part.fd, { recursive: true });
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR', 'ELOOP', 'EXDEV')) throw partRefused(subpath, error);
    throw error;
  }
}

function openMountPoint(root: number, target: string, isFolder: boolean): number {
  const open = (path: string) => openat2(root, path === '' ? '.' : path, { flags: O_PATH, resolve: inRoot });
  const parts = target.split('/').filter((part) => part !== '');
  for (let count = 1; count <= parts.length; count++) {
    try {
      closeSync(open(parts.slice(0, count).join('/')));
    } catch (error) {
      if (!isErrno(error, 'ENOENT')) throw error;
      using above = ownFd(open(parts.slice(0, count - 1).join('/')));
      const name = parts[count - 1]!;
      if (count < parts.length || isFolder) mkdirat(above.fd, name, 0o755);
      else closeSync(openat(above.fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o644));
    }
  }
  return open(parts.join('/'));
}

/** Closes a descriptor at the end of its block. */
export function ownFd(fd: number): Disposable & { readonly fd: number } {
  return { fd, [Symbol.dispose]: () => closeSync(fd) };
}
