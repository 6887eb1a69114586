import { ShimServiceService } from '@flotilla/proto/flotilla/shim/v1/shim';
import { type Client, connect } from '@flotilla/rpc';

const { attach } = ShimServiceService;

export type ShimClient = Client<{ attach: typeof attach }>;

/** A shim that lives answers at once; one that does not is looked for anew. */
const deadlineMs = 3_000;
/** Execs come in rows: the next one finds the connection made. */
const idleMs = 5_000;

interface Held {
  readonly client: ShimClient;
  users: number;
  timer: NodeJS.Timeout | undefined;
}

/** Connections to shims, kept for a moment after their last use. */
export class ShimConnections implements Disposable {
  readonly #held = new Map<string, Held>();

  /** A connection for as long as it is not disposed of. */
  use(address: string): Disposable & { readonly client: ShimClient } {
    const held = this.#held.get(address) ?? this.#open(address);
    held.users++;
    clearTimeout(held.timer);
    return { client: held.client, [Symbol.dispose]: () => this.#release(address, held) };
  }

  [Symbol.dispose](): void {
    for (const address of [...this.#held.keys()]) this.#close(address);
  }

  #open(address: string): Held {
    const held = { client: connect({ attach }, { address, name: 'shim', deadlineMs }), users: 0, timer: undefined };
    this.#held.set(address, held);
    return held;
  }

  #release(address: string, held: Held): void {
    held.users--;
    if (held.users > 0 || this.#held.get(address) !== held) return;
    held.timer = setTimeout(() => this.#close(address), idleMs);
    held.timer.unref();
  }

  #close(address: string): void {
    const held = this.#held.get(address);
    this.#held.delete(address);
    clearTimeout(held?.timer);
    held?.client[Symbol.dispose]();
  }
}
