/**
 * Messages from a client on their way to a shim: bounded, so that a fast writer waits for a slow reader, and outliving any
 * one connection to the shim.
 */
export class InputQueue<T> implements AsyncIterable<T> {
  readonly #capacity: number;
  readonly #items: T[] = [];
  #wakeReader: (() => void) | undefined;
  #wakeWriter: (() => void) | undefined;
  #closed = false;
  #reader = 0;

  constructor(capacity = 16) {
    this.#capacity = capacity;
  }

  /** Adds a message; waits while the queue is full. After `close` it is dropped. */
  async push(item: T): Promise<void> {
    while (!this.#closed && this.#items.length >= this.#capacity) {
      await new Promise<void>((resolve) => {
        this.#wakeWriter = resolve;
      });
    }
    if (this.#closed) return;
    this.#items.push(item);
    this.#wakeReader?.();
  }

  /** Adds a last message, however full the queue is. */
  end(item: T): void {
    if (this.#closed) return;
    this.#items.push(item);
    this.close();
  }

  /** No more will come or be wanted. */
  close(): void {
    this.#closed = true;
    this.#wakeReader?.();
    this.#wakeWriter?.();
  }

  /** Reads what is there and comes. A later reader takes the place of an earlier one, which then ends. */
  async *[Symbol.asyncIterator](): AsyncGenerator<T> {
    const reader = ++this.#reader;
    this.#wakeReader?.();
    while (reader === this.#reader) {
      const item = this.#items.shift();
      if (item !== undefined) {
        this.#wakeWriter?.();
        yield item;
      } else if (this.#closed) return;
      else {
        await new Promise<void>((resolve) => {
          this.#wakeReader = resolve;
        });
      }
    }
  }
}
