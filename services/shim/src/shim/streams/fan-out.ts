import { OutputClient, type StreamName } from './output-client.ts';

export interface FanOutOptions {
  /** What may wait for one client; also how far it may be behind the process. */
  readonly limitBytes: number;
  /**
   * How long output is held back for a client that is behind before the client is dropped, milliseconds. `undefined`: for
   * ever, where nothing but the clients takes the output.
   */
  readonly patienceMs: number | undefined;
  /** Output must be held back, or may go on. */
  readonly onHold: (hold: boolean) => void;
}

/** Gives a process's output to all attached clients. */
export class FanOut {
  readonly #options: FanOutOptions;
  readonly #clients = new Set<OutputClient>();
  readonly #behind = new Map<OutputClient, NodeJS.Timeout | undefined>();
  #exitCode: number | undefined;
  #released = false;

  constructor(options: FanOutOptions) {
    this.#options = options;
  }

  get clientCount(): number {
    return this.#clients.size;
  }

  attach(streams: ReadonlySet<StreamName>): OutputClient {
    const client: OutputClient = new OutputClient({
      streams,
      limitBytes: this.#options.limitBytes,
      onBehind: (behind) => (behind ? this.#hold(client) : this.#release(client)),
    });
    if (this.#exitCode === undefined) this.#clients.add(client);
    else client.end(this.#exitCode);
    return client;
  }

  detach(client: OutputClient): void {
    client.close();
    this.#clients.delete(client);
  }

  /** `chunk` is copied if anybody wants it. */
  push(stream: StreamName, chunk: Uint8Array): void {
    let copy: Uint8Array | undefined;
    for (const client of this.#clients) {
      if (!client.wants(stream)) continue;
      copy ??= Buffer.from(chunk);
      client.push(stream, copy);
    }
  }

  /** The process is gone: what is left of its output is bounded and is never held back. */
  release(): void {
    this.#released = true;
    this.#options.onHold(false);
  }

  /** All output was pushed. */
  end(exitCode: number): void {
    this.#exitCode = exitCode;
    for (const client of this.#clients) client.end(exitCode);
    this.#clients.clear();
  }

  #hold(client: OutputClient): void {
    const { patienceMs } = this.#options;
    const drop = () => {
      client.drop();
      this.#clients.delete(client);
    };
    this.#behind.set(client, patienceMs === undefined ? undefined : setTimeout(drop, patienceMs));
    if (!this.#released && this.#behind.size === 1) this.#options.onHold(true);
  }

  #release(client: OutputClient): void {
    clearTimeout(this.#behind.get(client));
    this.#behind.delete(client);
    if (!this.#released && this.#behind.size === 0) this.#options.onHold(false);
  }
}
