import { closeSync, fdatasync, openSync } from 'node:fs';
import { promisify } from 'node:util';

const flushFile = promisify(fdatasync);

/**
 * Makes what is committed survive power loss: flushes SQLite's write-ahead log, in which a commit is one append, as
 * `synchronous = FULL` would (sqlite.org/wal.html), but beside the event loop, and once for all commits that wait.
 */
export class LogFlusher implements Disposable {
  readonly #path: string;
  #fd: number | undefined;
  #running: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  /** Path of the write-ahead log; it is there from the first commit on, as long as the database is open. */
  constructor(path: string) {
    this.#path = path;
  }

  /** Resolves once every commit made before the call is on the disk. */
  flush(): Promise<void> {
    // One that runs may have begun before the last commit: those who come meanwhile share the one after it.
    this.#next ??= this.#flushAfter(this.#running);
    return this.#next;
  }

  async #flushAfter(running: Promise<void> | undefined): Promise<void> {
    await running?.catch(() => {});
    // From here on newcomers need another one.
    this.#running = this.#next;
    this.#next = undefined;
    this.#fd ??= openSync(this.#path, 'r');
    await flushFile(this.#fd);
  }

  [Symbol.dispose](): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
  }
}
