import { chmodSync, rmSync } from 'node:fs';
import { bindUnix, closeFd, listen, pidfdGetFd, pidfdOpen, unixSocket } from '@flotilla/linux';

/** The descriptor on which systemd's protocol hands over the first socket: sd_listen_fds(3). */
export const firstPassedDescriptor = 3;

/**
 * Opens a listening unix socket that the keeper holds and each process of the service inherits: while none lives,
 * connections queue. If a process of the service lives already (the keeper was replaced), its socket is taken over with
 * pidfd_getfd(2), so that those who wait in its queue are served.
 */
export function openListeningSocket(path: string, owner: number | undefined): number {
  if (owner !== undefined) {
    const pidfd = pidfdOpen(owner);
    try {
      return pidfdGetFd(pidfd, firstPassedDescriptor);
    } finally {
      closeFd(pidfd);
    }
  }
  rmSync(path, { force: true });
  const fd = unixSocket();
  bindUnix(fd, path);
  chmodSync(path, 0o600);
  listen(fd, 511);
  return fd;
}
