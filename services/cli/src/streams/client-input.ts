import process from 'node:process';
import type { ReadStream, WriteStream } from 'node:tty';

/** What a client sends while it is attached, after the first message; of AttachContainer and of StartExec alike. */
export type InputMessage =
  | { readonly $case: 'stdin'; readonly value: Buffer }
  | { readonly $case: 'closeStdin'; readonly value: object }
  | { readonly $case: 'resize'; readonly value: { readonly rows: number; readonly columns: number } };

export interface ClientInputOptions {
  /** Sends what is read from standard input, and its end. */
  readonly stdin: boolean;
  /** Its end is not sent: the container's input stays open for other clients. */
  readonly keepsOpen?: boolean;
  /** Sends the window's size, now and when it changes. */
  readonly resize: boolean;
}

/** More than this waits in the terminal or the pipe. */
const queueLimit = 16;
/** The contract's limit for one message. */
const largestPiece = 64 * 1024;

/**
 * Standard input and the window's size as messages. Outlives a connection: who iterates later takes over, and what has been
 * read and not yet sent goes to him.
 */
export class ClientInput implements Disposable {
  readonly #queue: InputMessage[] = [];
  readonly #input = process.stdin as ReadStream;
  readonly #output = process.stdout as WriteStream;
  readonly #options: ClientInputOptions;
  #wake: (() => void) | undefined;
  #reader = 0;
  #closed = false;

  constructor(options: ClientInputOptions) {
    this.#options = options;
    if (options.resize) {
      this.#sendSize();
      this.#output.on('resize', this.#sendSize);
    }
    if (!options.stdin) return;
    this.#input.on('data', this.#read);
    this.#input.once('end', this.#end);
    this.#input.once('error', this.#end);
  }

  /** The first message, then the input as it comes. */
  async *messages<First>(first: First): AsyncGenerator<{ message: First | InputMessage }> {
    const reader = ++this.#reader;
    this.#wake?.();
    yield { message: first };
    while (reader === this.#reader && !this.#closed) {
      const message = this.#queue.shift();
      if (message !== undefined) {
        if (this.#queue.length < queueLimit && this.#options.stdin) this.#input.resume();
        yield { message };
      } else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }

  /** For a connection that is made anew: the other side does not know the window's size. */
  repeatSize(): void {
    if (this.#options.resize) this.#sendSize();
  }

  [Symbol.dispose](): void {
    this.#closed = true;
    this.#output.off('resize', this.#sendSize);
    this.#input.off('data', this.#read);
    this.#input.off('end', this.#end);
    this.#input.pause();
    this.#wake?.();
  }

  readonly #sendSize = (): void => {
    const [columns, rows] = this.#output.isTTY ? this.#output.getWindowSize() : [0, 0];
    if (rows > 0 && columns > 0) this.#push({ $case: 'resize', value: { rows, columns } });
  };

  readonly #read = (data: Buffer): void => {
    for (let at = 0; at < data.length; at += largestPiece) {
      this.#push({ $case: 'stdin', value: data.subarray(at, at + largestPiece) });
    }
    if (this.#queue.length >= queueLimit) this.#input.pause();
  };

  readonly #end = (): void => {
    if (this.#options.keepsOpen !== true) this.#push({ $case: 'closeStdin', value: {} });
  };

  #push(message: InputMessage): void {
    this.#queue.push(message);
    this.#wake?.();
  }
}
