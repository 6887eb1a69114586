import { FlotillaError } from '@flotilla/errors';

export type StreamName = 'stdout' | 'stderr';

/** A piece of a stream. */
export interface OutputPiece {
  readonly stream: StreamName;
  readonly data: Uint8Array;
  /** So many bytes of the stream came before it; 0 for an exec's. */
  readonly position: number;
}

/** What was taken of a client's input: messages, and bytes of the one that comes next. */
export interface InputPlace {
  readonly messages: number;
  readonly bytes: number;
}

/** What an attached client gets, in this order: output, then the end. */
export type ClientMessage =
  | ({ readonly kind: 'output' } & OutputPiece)
  | ({ readonly kind: 'inputTaken' } & InputPlace)
  | { readonly kind: 'ended'; readonly exitCode: number };

/** So many pieces of output come at most between a word on the input and its being told: the client keeps what it has no word on. */
const mostPiecesBetween = 16;

export interface OutputClientOptions {
  readonly streams: ReadonlySet<StreamName>;
  /** Above this it is behind. */
  readonly limitBytes: number;
  /** Told when it gets behind, and when it has half of its room again. */
  readonly onBehind: (behind: boolean) => void;
}

/** An attached client's place in the output: a queue that its call takes from. */
export class OutputClient implements AsyncIterable<ClientMessage> {
  readonly #options: OutputClientOptions;
  readonly #queue: ClientMessage[] = [];
  #queuedBytes = 0;
  #behind = false;
  #closed = false;
  #failure: FlotillaError | undefined;
  /** Not told yet. */
  #inputPlace: InputPlace | undefined;
  #wake: (() => void) | undefined;

  constructor(options: OutputClientOptions) {
    this.#options = options;
  }

  wants(stream: StreamName): boolean {
    return !this.#closed && this.#options.streams.has(stream);
  }

  /** `data` must stay as it is. */
  push(stream: StreamName, data: Uint8Array, position: number): void {
    this.#queue.push({ kind: 'output', stream, data, position });
    this.#queuedBytes += data.length;
    if (this.#queuedBytes > this.#options.limitBytes) this.#setBehind(true);
    this.#wake?.();
  }

  /** Tells how much of its input was taken, soon, behind the output that is there; the last word counts. */
  inputTaken(place: InputPlace): void {
    this.#inputPlace = place;
    this.#wake?.();
  }

  /** The process is gone and there will be no more output. */
  end(exitCode: number): void {
    if (this.#closed) return;
    this.#queue.push({ kind: 'ended', exitCode });
    this.#wake?.();
  }

  /** It does not keep up: the rest of its output is thrown away and its call fails. */
  drop(): void {
    this.#failure = new FlotillaError(
      'resource_exhausted',
      'the client reads more slowly than the container writes; the log has everything',
      { reason: 'CLIENT_TOO_SLOW', metadata: { queuedBytes: String(this.#queuedBytes) } },
    );
    this.close();
  }

  /** Its call fails once it has what was pushed. */
  fail(error: FlotillaError): void {
    this.#failure = error;
    this.#closed = true;
    this.#wake?.();
  }

  /** It has gone. */
  close(): void {
    this.#closed = true;
    this.#queue.length = 0;
    this.#queuedBytes = 0;
    this.#setBehind(false);
    this.#wake?.();
  }

  /** Ends after `ended`. Throws RESOURCE_EXHAUSTED / CLIENT_TOO_SLOW when it was dropped. */
  async *[Symbol.asyncIterator](): AsyncGenerator<ClientMessage> {
    for (let pieces = 0; ; ) {
      const place = this.#inputPlace;
      if (place !== undefined && (this.#queue.length === 0 || pieces >= mostPiecesBetween)) {
        this.#inputPlace = undefined;
        pieces = 0;
        yield { kind: 'inputTaken', ...place };
        continue;
      }
      const message = this.#queue.shift();
      if (message === undefined) {
        if (this.#failure !== undefined) throw this.#failure;
        if (this.#closed) return;
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        this.#wake = undefined;
        continue;
      }
      if (message.kind === 'output') {
        pieces++;
        this.#queuedBytes -= message.data.length;
        if (this.#queuedBytes <= this.#options.limitBytes / 2) this.#setBehind(false);
      }
      yield message;
      if (message.kind === 'ended') return;
    }
  }

  #setBehind(behind: boolean): void {
    if (behind === this.#behind) return;
    this.#behind = behind;
    this.#options.onBehind(behind);
  }
}
