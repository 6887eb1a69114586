import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { isErrno } from '@flotilla/linux';

/** random(4): made anew at each boot. */
const bootIdFile = '/proc/sys/kernel/random/boot_id';

/** Remembers in a file of which boot of the host this engine last knew. */
export class BootRecord {
  readonly #path: string;
  readonly #current: string;

  constructor(path: string, current: string = readFileSync(bootIdFile, 'utf8').trim()) {
    this.#path = path;
    this.#current = current;
  }

  /** The host has booted since. False when nothing is remembered: a first start, or one after an earlier release. */
  get isNew(): boolean {
    try {
      const last = readFileSync(this.#path, 'utf8').trim();
      return last !== '' && last !== this.#current;
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return false;
      throw error;
    }
  }

  /** Not flushed: power loss that takes it with it is followed by a boot. */
  remember(): void {
    writeFileSync(`${this.#path}.new`, `${this.#current}\n`);
    renameSync(`${this.#path}.new`, this.#path);
  }
}
