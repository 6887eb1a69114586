import { FlotillaError } from '@flotilla/errors';
import { closeFd, moveMount } from '@flotilla/linux';

/** A mount that the image's own files lead astray. */
export function refused(path: string, why: string): FlotillaError {
  const message = `refused ${path}: ${why}`;
  return new FlotillaError('failed_precondition', message, { reason: 'ROOTFS_UNSAFE', metadata: { path, why } });
}

/** move_mount(2) onto an open file or folder, which is closed. */
export function attach(mountFd: number, targetFd: number, target: string): void {
  try {
    moveMount(mountFd, targetFd, target);
  } finally {
    closeFd(targetFd);
  }
}
