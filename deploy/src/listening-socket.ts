import { chmodSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { bindUnix, closeFd, listen, pidfdGetFd, pidfdOpen, unixSocket } from '@flotilla/linux';

/** The descriptor on which systemd's protocol hands over the first socket: sd_listen_fds(3). */
export const firstPassedDescriptor = 3;

/**
 * Opens a listening unix socket that the keeper holds and each process of the service inherits: while none lives,
 * connections queue.
 */
export function openListeningSocket(path: string): number {
  rmSync(path, { force: true });
  const fd = unixSocket();
  bindUnix(fd, path);
  chmodSync(path, 0o600);
  listen(fd, 511);
  return fd;
}

/**
 * Takes over, with pidfd_getfd(2), the listening socket of a service that lives although its keeper does not, so that
 * those who wait in its queue are served. Undefined when that process does not hold the socket of this path.
 */
export function takeListeningSocket(path: string, ownerPid: number): number | undefined {
  try {
    const inode = readlinkSync(`/proc/${ownerPid}/fd/${firstPassedDescriptor}`).match(/^socket:\[(\d+)\]$/)?.[1];
    if (inode === undefined || !isBoundTo(inode, path)) return undefined;
    const pidfd = pidfdOpen(ownerPid);
    try {
      return pidfdGetFd(pidfd, firstPassedDescriptor);
    } finally {
      closeFd(pidfd);
    }
  } catch {
    return undefined; // gone, or without such a descriptor: its service is started again on a new socket
  }
}

/** Whether /proc/net/unix shows a socket with this inode at this path. */
function isBoundTo(inode: string, path: string): boolean {
  return readFileSync('/proc/net/unix', 'utf8')
    .split('\n')
    .some((line) => {
      const words = line.trim().split(/\s+/);
      return words[6] === inode && words[7] === path;
    });
}
