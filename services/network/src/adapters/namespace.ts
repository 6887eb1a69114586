import { closeSync, openSync, rmSync, statfsSync, statSync, writeFileSync } from 'node:fs';
import { isErrno, MS_BIND, mount, umount } from '@flotilla/linux';
import { insideNewNetworkNamespace, NetlinkSocket, ownNetworkNamespace, setLink } from '@flotilla/linux/netlink';
import { setKernelParameter } from './host-settings.ts';

/** statfs(2): the file system that namespace files are on. */
const NSFS_MAGIC = 0x6e736673;

/** A network namespace that a file pins: it lives as long as the file is mounted or something is in it. */
export class Namespace implements Disposable {
  readonly path: string;
  readonly fd: number;
  /** For the links in it. */
  readonly socket: NetlinkSocket;

  constructor(path: string, fd: number, socket: NetlinkSocket) {
    this.path = path;
    this.fd = fd;
    this.socket = socket;
  }

  /** Gives up the descriptors; the file stays. */
  [Symbol.dispose](): void {
    this.socket[Symbol.dispose]();
    closeSync(this.fd);
  }
}

/** Makes a network namespace with `lo` up, and pins it to a new file. */
export function createNamespace(path: string): Namespace {
  writeFileSync(path, '', { flag: 'wx', mode: 0o600 });
  try {
    return insideNewNetworkNamespace(() => {
      const socket = new NetlinkSocket();
      socket.execute(setLink({ name: 'lo' }, { up: true }));
      prepare();
      mount({ source: ownNetworkNamespace, target: path, flags: MS_BIND });
      return new Namespace(path, openSync(path, 'r'), socket);
    });
  } catch (error) {
    unpin(path);
    throw error;
  }
}

/**
 * As Docker has it: ports below 1024 and ping(8) need no privilege in a namespace of one's own. Links to come have no
 * IPv6 and believe no router's announcements.
 */
function prepare(): void {
  setKernelParameter('net/ipv4/ip_unprivileged_port_start', '0');
  setKernelParameter('net/ipv4/ping_group_range', '0\t2147483647');
  try {
    setKernelParameter('net/ipv6/conf/default/disable_ipv6', '1');
    setKernelParameter('net/ipv6/conf/default/accept_ra', '0');
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error; // The kernel has no IPv6.
  }
}

/** Opens a pinned namespace; undefined when the file is missing or pins nothing (a reboot takes the mounts). */
export function openNamespace(path: string): Namespace | undefined {
  if (!isPinned(path)) return undefined;
  const fd = openSync(path, 'r');
  try {
    return new Namespace(path, fd, new NetlinkSocket({ netnsFd: fd }));
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** Pins a namespace to one more file, new or left over from a pin that is gone. */
export function pinAlso({ path: from }: Namespace, path: string): void {
  try {
    writeFileSync(path, '', { flag: 'wx', mode: 0o600 });
  } catch (error) {
    if (!isErrno(error, 'EEXIST')) throw error;
    unpin(path);
    writeFileSync(path, '', { flag: 'wx', mode: 0o600 });
  }
  mount({ source: from, target: path, flags: MS_BIND });
}

/** Removes a pin and its file; one that is not there is no error. */
export function unpin(path: string): void {
  for (;;) {
    try {
      umount(path, { detach: true });
    } catch (error) {
      if (!isErrno(error, 'EINVAL', 'ENOENT')) throw error; // EINVAL: nothing is mounted there.
    }
    try {
      rmSync(path, { force: true });
      return;
    } catch (error) {
      if (!isErrno(error, 'EBUSY')) throw error; // One more is mounted there.
    }
  }
}

function isPinned(path: string): boolean {
  try {
    return statfsSync(path).type === NSFS_MAGIC;
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return false;
    throw error;
  }
}

/** Identity of the namespace that a file pins. */
export function namespaceInode(path: string): number {
  return statSync(path).ino;
}
