import { closeFd, isErrno, POLLIN, type ProcessExit, pidfdSendSignal, poll, SIGKILL } from '@flotilla/linux';

/** A process known by pidfd: a number alone may be another's by now. */
export class WatchedProcess {
  readonly pid: number;
  readonly pidfd: number;
  /** The pidfd stays open after the end: the kernel tells by it how the process ended. */
  staysOpen = false;
  #isOpen = true;
  #hasEnded = false;
  #exit: ProcessExit | undefined;

  /** The pidfd becomes this object's. */
  constructor(pid: number, pidfd: number) {
    this.pid = pid;
    this.pidfd = pidfd;
  }

  /** Whether its end has been taken notice of. */
  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /** How it ended; also `undefined` when nobody knows. */
  get exit(): ProcessExit | undefined {
    return this.#exit;
  }

  /** Whether it runs no more, its end noticed or not. */
  isDead(): boolean {
    return this.#hasEnded || !this.#isOpen || poll([{ fd: this.pidfd, events: POLLIN }], 0)[0] !== 0;
  }

  /** Notes its end. */
  end(exit: ProcessExit | undefined): void {
    this.#hasEnded = true;
    this.#exit = exit;
    if (!this.staysOpen) this.close();
  }

  kill(): void {
    try {
      if (this.#isOpen) pidfdSendSignal(this.pidfd, SIGKILL);
    } catch (error) {
      if (!isErrno(error, 'ESRCH')) throw error;
    }
  }

  close(): void {
    if (this.#isOpen) closeFd(this.pidfd);
    this.#isOpen = false;
  }
}
