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
  #stored: StoredFd[];

  constructor(stored: readonly StoredFd[] = []) {
    this.#stored = [...stored];
  }

  get all(): readonly StoredFd[] {
    return this.#stored;
  }

  /** Takes a descriptor over. False, and it is closed, when no more can be handed back. */
  add(name: string, fd: number): boolean {
    const has = this.#stored.some((one) => one.name === name && isSameOpenFile(one.fd, fd));
    const bytes = this.#stored.reduce((sum, one) => sum + one.name.length + 1, name.length);
    if (has || bytes > mostNameBytes) {
      closeFd(fd);
      return has;
    }
    this.#stored.push({ name, fd });
    return true;
  }

  /** Closes all of that name. */
  remove(name: string): void {
    for (const one of this.#stored) if (one.name === name) closeFd(one.fd);
    this.#stored = this.#stored.filter((one) => one.name !== name);
  }

  [Symbol.dispose](): void {
    for (const { fd } of this.#stored) closeFd(fd);
    this.#stored = [];
  }
}
