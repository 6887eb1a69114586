import { setTimeout as sleep } from 'node:timers/promises';
import { closeFd, sendFds, setNonBlocking, unixSocketPair } from '@flotilla/linux';
import type { StoredFd } from './fd-store.ts';

/** Of SCM_RIGHTS: at most 253 in a message. */
const batch = 200;
const pollMs = 2;
const timeoutMs = 5_000;

/**
 * The way to a process that has done all that it can do before it serves, and waits for its turn: it gets what the one
 * before had stored here, in messages of JSON {names, isLast} with a descriptor for each name, and then serves.
 */
export class Standby implements Disposable {
  /** For the process, by the name `standby` of LISTEN_FDNAMES. To be closed here once it has a copy. */
  readonly passedFd: number;
  readonly #fd: number;
  #isOpen = true;

  constructor() {
    [this.#fd, this.passedFd] = unixSocketPair({ packets: true });
    setNonBlocking(this.#fd, true);
  }

  /** Gives it its turn. Throws when it has ended, or does not listen. */
  async give(stored: readonly StoredFd[]): Promise<void> {
    for (let at = 0; at === 0 || at < stored.length; at += batch) {
      const some = stored.slice(at, at + batch);
      const isLast = at + batch >= stored.length;
      await this.#send(Buffer.from(JSON.stringify({ names: some.map(({ name }) => name), isLast })), some);
    }
  }

  async #send(message: Buffer, some: readonly StoredFd[]): Promise<void> {
    const fds = some.map(({ fd }) => fd);
    const deadline = Date.now() + timeoutMs;
    while (sendFds(this.#fd, message, fds) === undefined) {
      if (Date.now() > deadline) throw new Error('it does not take its turn');
      await sleep(pollMs);
    }
  }

  [Symbol.dispose](): void {
    if (this.#isOpen) closeFd(this.#fd);
    this.#isOpen = false;
  }
}
