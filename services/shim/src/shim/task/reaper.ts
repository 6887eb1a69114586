import process from 'node:process';
import { type ChildExit, isErrno, setSignalMask, waitPidfd, waitpid } from '@flotilla/linux';

export type OnExit = (exit: ChildExit) => void;

interface Child {
  readonly pid: number;
  readonly pidfd: number;
  readonly onExit: OnExit;
}

/**
 * Learns of the exits of this process's children from SIGCHLD. Init is left a zombie until its exit is safely recorded:
 * were this process to die before, its own parent would inherit the zombie and the status with it.
 */
export class Reaper {
  readonly #init: Child | undefined;
  readonly #execs = new Map<number, Child>();
  #initExited = false;
  readonly #onSignal = (): void => this.#look();
  #isStopped = true;
  /** What was learnt meanwhile. */
  #held: (() => void)[] = [];

  /** Without init, when it is not a child of this process. */
  constructor(init: Child | undefined) {
    this.#init = init;
  }

  /** From now on. The template that this process was forked from may have had SIGCHLD blocked. */
  start(): void {
    setSignalMask([]);
    process.on('SIGCHLD', this.#onSignal);
    this.#isStopped = false;
    for (const tell of this.#held.splice(0)) tell();
    this.#look();
  }

  /** Nobody is told of an exit until the next start. */
  stop(): void {
    process.off('SIGCHLD', this.#onSignal);
    this.#isStopped = true;
  }

  /** Tells of the exit of a process that is no child of this one, when exits are told. */
  passOn(tell: () => void): void {
    if (this.#isStopped) this.#held.push(tell);
    else tell();
  }

  /** An exec: reaped and reported once. Call it in the same turn of the loop in which it was made. */
  add(exec: Child): void {
    this.#execs.set(exec.pid, exec);
  }

  /** Init's zombie may go. */
  reapInit(): void {
    if (this.#init === undefined) return;
    waitPidfd(this.#init.pidfd, { noHang: true });
    this.#look();
  }

  #look(): void {
    for (const exec of this.#execs.values()) {
      const exit = waitPidfd(exec.pidfd, { noHang: true });
      if (exit === undefined) continue;
      this.#execs.delete(exec.pid);
      exec.onExit(exit);
    }
    if (this.#init !== undefined && !this.#initExited) {
      const exit = waitPidfd(this.#init.pidfd, { noHang: true, noReap: true });
      if (exit !== undefined) {
        this.#initExited = true;
        this.#init.onExit(exit);
      }
    }
    this.#reapOrphans();
  }

  /** Processes of the container that lost their parent and came to this one, a subreaper: nobody's business. */
  #reapOrphans(): void {
    try {
      for (;;) {
        const exit = waitpid(-1, { noHang: true, noReap: true });
        if (exit === undefined || exit.pid === this.#init?.pid || this.#execs.has(exit.pid)) return;
        waitpid(exit.pid, { noHang: true });
      }
    } catch (error) {
      if (!isErrno(error, 'ECHILD')) throw error;
    }
  }
}
