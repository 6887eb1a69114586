import type { FlotillaError } from '@flotilla/errors';
import { OutputClient, type OutputPiece, type StreamName } from './output-client.ts';

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

  /** Somebody is attached to a stream. */
  isWanted(stream: StreamName): boolean {
    for (const client of this.#clients) if (client.wants(stream)) return true;
    return false;
  }

  /** `missed` comes first. */
  attach(streams: ReadonlySet<StreamName>, missed: readonly OutputPiece[] = []): OutputClient {
    const client: OutputClient = new OutputClient({
      streams,
      limitBytes: this.#options.limitBytes,
      onBehind: (behind) => (behind ? this.#hold(client) : this.#release(client)),
    });
    for (const { stream, data, position } of missed) client.push(stream, data, position);
    if (this.#exitCode === undefined) this.#clients.add(client);
    else client.end(this.#exitCode);
    return client;
  }

  detach(client: OutputClient): void {
    client.close();
    this.#clients.delete(client);
  }

  /** `data` must stay as it is. */
  push(stream: StreamName, data: Uint8Array, position: number): void {
    for (const client of this.#clients) if (client.wants(stream)) client.push(stream, data, position);
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

  /** Each attachment ends with an error, behind what was pushed. */
  fail(error: FlotillaError): void {
    for (const client of this.#clients) client.fail(error);
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
