import { closeFd, isSameOpenFile } from '@flotilla/linux';

/** One environment variable may not be longer: execve(2), MAX_ARG_STRLEN. LISTEN_FDNAMES lists all names. */
const mostNameBytes = 128 * 1024 - 256;

/** A descriptor that a process has left here. */
export interface StoredFd {
  readonly name: string;
  readonly fd: number;
}

/**
 * Descriptors that a process keeps with its manager, and gets back when it is started again: FDSTORE=1 of sd_notify(3).
 * Of several copies of one descriptor the first is kept, as systemd does.
 */
export class FdStore implements Disposable {
  readonly #fds = new Map<string, number[]>();
  /** Of the variable with all names. */
  #nameBytes = 0;

  constructor(stored: readonly StoredFd[] = []) {
    for (const { name, fd } of stored) this.#put(name, fd);
  }

  get all(): readonly StoredFd[] {
    return [...this.#fds].flatMap(([name, fds]) => fds.map((fd) => ({ name, fd })));
  }

  /** Takes a descriptor over. False, and it is closed, when no more can be handed back. */
  add(name: string, fd: number): boolean {
    const has = this.#fds.get(name)?.some((one) => isSameOpenFile(one, fd)) === true;
    if (has || this.#nameBytes + name.length > mostNameBytes) {
      closeFd(fd);
      return has;
    }
    this.#put(name, fd);
    return true;
  }

  /** Closes all of that name. */
  remove(name: string): void {
    const fds = this.#fds.get(name) ?? [];
    this.#fds.delete(name);
    this.#nameBytes -= fds.length * (name.length + 1);
    for (const fd of fds) closeFd(fd);
  }

  [Symbol.dispose](): void {
    for (const name of [...this.#fds.keys()]) this.remove(name);
  }

  #put(name: string, fd: number): void {
    this.#fds.set(name, [...(this.#fds.get(name) ?? []), fd]);
    this.#nameBytes += name.length + 1;
  }
}
