import { bindUnix, closeFd, recvFds, unixSocket } from '@flotilla/linux';

/** A service manager as far as sd_notify(3) goes: keeps what is left with it. */
export class TestManager implements Disposable {
  readonly address: string;
  readonly stored = new Map<string, number>();
  readonly #fd = unixSocket({ datagrams: true, nonBlocking: true });
  #isLoaded = false;
  #isReady = false;

  constructor(address: string) {
    this.address = address;
    bindUnix(this.#fd, address);
  }

  /** Takes in what has come, and answers how things are. */
  hear(): { readonly isLoaded: boolean; readonly isReady: boolean; readonly names: readonly string[] } {
    const buffer = Buffer.alloc(500);
    for (let got = recvFds(this.#fd, buffer); got !== undefined; got = recvFds(this.#fd, buffer)) {
      const lines = buffer.toString('latin1', 0, got.length).split('\n');
      const fields = new Map(lines.map((line) => line.split('=', 2) as [string, string]));
      const name = fields.get('FDNAME') ?? '';
      if (fields.get('X_FLOTILLA_LOADED') === '1') this.#isLoaded = true;
      if (fields.get('READY') === '1') this.#isReady = true;
      if (fields.get('FDSTOREREMOVE') === '1') this.#remove(name);
      else if (fields.get('FDSTORE') === '1') this.stored.set(name, got.fds[0]!);
    }
    return { isLoaded: this.#isLoaded, isReady: this.#isReady, names: [...this.stored.keys()].sort() };
  }

  rename(from: string, to: string): void {
    this.stored.set(to, this.stored.get(from)!);
    this.stored.delete(from);
  }

  #remove(name: string): void {
    const fd = this.stored.get(name);
    if (fd !== undefined) closeFd(fd);
    this.stored.delete(name);
  }

  [Symbol.dispose](): void {
    for (const fd of [...this.stored.values(), this.#fd]) closeFd(fd);
  }
}
