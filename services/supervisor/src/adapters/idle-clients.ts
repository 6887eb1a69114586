/** A client and how it is used. */
interface Held<Client> {
  readonly client: Client;
  calls: number;
  idleSince: number;
}

/**
 * Clients by name, each made when it is needed and closed when it was not for a while: a connection costs memory on both
 * sides, and grpc-js has timers for each, which with hundreds of containers would keep a processor busy for nothing.
 */
export class IdleClients<Client extends Disposable> implements Disposable {
  readonly #make: (name: string) => Client;
  readonly #idleMs: number;
  readonly #held = new Map<string, Held<Client>>();
  #timer: NodeJS.Timeout | undefined;

  constructor(make: (name: string) => Client, idleMs: number) {
    this.#make = make;
    this.#idleMs = idleMs;
  }

  get size(): number {
    return this.#held.size;
  }

  /** Does work with a client, which stays open meanwhile. */
  async use<T>(name: string, work: (client: Client) => Promise<T>): Promise<T> {
    using lease = this.lease(name);
    return await work(lease.client);
  }

  /** The client stays open until the lease is given back. */
  lease(name: string): Disposable & { readonly client: Client } {
    const held = this.#held.get(name) ?? { client: this.#make(name), calls: 0, idleSince: 0 };
    this.#held.set(name, held);
    held.calls += 1;
    return {
      client: held.client,
      [Symbol.dispose]: () => {
        held.calls -= 1;
        held.idleSince = performance.now();
        this.#timer ??= setTimeout(() => this.#closeIdle(), this.#idleMs).unref();
      },
    };
  }

  /** Closes one at once. */
  forget(name: string): void {
    this.#held.get(name)?.client[Symbol.dispose]();
    this.#held.delete(name);
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    for (const name of [...this.#held.keys()]) this.forget(name);
  }

  #closeIdle(): void {
    this.#timer = undefined;
    const before = performance.now() - this.#idleMs + 1;
    for (const [name, { calls, idleSince }] of this.#held) if (calls === 0 && idleSince <= before) this.forget(name);
    if ([...this.#held.values()].some(({ calls }) => calls === 0)) {
      this.#timer = setTimeout(() => this.#closeIdle(), this.#idleMs).unref();
    }
  }
}
