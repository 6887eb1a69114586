import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
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
    const last = this.#read();
    return last !== '' && last !== this.#current;
  }

  #read(): string {
    try {
      return readFileSync(this.#path, 'utf8').trim();
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return '';
      throw error;
    }
  }

  /** Flushed: power loss that took the first one with it would be followed by a boot that passes for none. */
  remember(): void {
    if (this.#read() === this.#current) return;
    writeFileSync(`${this.#path}.new`, `${this.#current}\n`, { flush: true });
    renameSync(`${this.#path}.new`, this.#path);
    const folder = openSync(dirname(this.#path), 'r');
    try {
      fsyncSync(folder);
    } finally {
      closeSync(folder);
    }
  }
}
