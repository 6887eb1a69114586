import { type ChildExit, closeFd, isErrno, pidfdOpen, waitpid } from '@flotilla/linux';

/**
 * The processes that this one is the parent of. Their ends are seen through pidfds and not through SIGCHLD: threads that
 * Node.js has besides JavaScript's do not block it, and the kernel gives a signal to any thread that takes it.
 */
export class Children {
  readonly #pidfds = new Map<number, number>();

  /** Readable once one has ended: for poll(2). */
  get pidfds(): readonly number[] {
    return [...this.#pidfds.values()];
  }

  /** A child that was started, or an orphan that has become one. */
  add(pid: number): void {
    if (!this.#pidfds.has(pid)) this.#pidfds.set(pid, pidfdOpen(pid));
  }

  /** Reaps every child that has ended, strangers (orphans of orphans) among them. */
  reap(): readonly ChildExit[] {
    const exits: ChildExit[] = [];
    for (let exit = next(); exit !== undefined; exit = next()) {
      exits.push(exit);
      const pidfd = this.#pidfds.get(exit.pid);
      if (pidfd === undefined) continue;
      this.#pidfds.delete(exit.pid);
      closeFd(pidfd);
    }
    return exits;
  }
}

function next(): ChildExit | undefined {
  try {
    return waitpid(-1, { noHang: true });
  } catch (error) {
    if (isErrno(error, 'ECHILD')) return undefined;
    throw error;
  }
}
