import { closeWatched, isErrno, pidfdOpen, watchReadable } from '@flotilla/linux';

/**
 * Calls back once when a process ends: its pidfd is readable then (pidfd_open(2)). Undefined when there is none of that number.
 */
export function watchProcess(pid: number, onEnd: () => void): Disposable | undefined {
  let pidfd: number;
  try {
    pidfd = pidfdOpen(pid);
  } catch (error) {
    if (isErrno(error, 'ESRCH', 'EINVAL')) return undefined;
    throw error;
  }
  let open = true;
  const watch = watchReadable(pidfd, () => {
    close();
    onEnd();
  });
  const close = (): void => {
    if (!open) return;
    open = false;
    closeWatched(watch, pidfd);
  };
  return { [Symbol.dispose]: close };
}
