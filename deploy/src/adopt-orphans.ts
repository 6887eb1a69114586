import { type ChildExit, isErrno, setChildSubreaper, waitpid } from '@flotilla/linux';

const pollMs = 500;

/**
 * Makes this process the parent of orphans among its descendants (shims whose launcher died), and reaps those that have
 * ended: in many containers and machines the first process, which would get them otherwise, reaps nobody. Children that
 * node:child_process started are left to it, which waits for each by its id. `onEnded` is called before one is reaped.
 */
export function adoptOrphans(
  isOwnChild: (pid: number) => boolean,
  onEnded: (ended: ChildExit) => void = () => {},
): Disposable {
  setChildSubreaper(true);
  const timer = setInterval(() => reapOrphans(isOwnChild, onEnded), pollMs);
  timer.unref();
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

function reapOrphans(isOwnChild: (pid: number) => boolean, onEnded: (ended: ChildExit) => void): void {
  try {
    for (;;) {
      const ended = waitpid(-1, { noHang: true, noReap: true });
      // One of our own hides those behind it until Node.js has reaped it, a moment later.
      if (ended === undefined || isOwnChild(ended.pid)) return;
      onEnded(ended);
      waitpid(ended.pid, { noHang: true });
    }
  } catch (error) {
    if (!isErrno(error, 'ECHILD')) throw error;
  }
}
