/** A reader that counts has said so long before it was given so many messages. */
const mostUncounted = 4096;

/**
 * Messages from a client on their way to a shim: bounded, so that a fast writer waits for a slow reader, and outliving any
 * one connection to the shim. What a shim that made way for another has not taken is read again.
 */
export class InputQueue<T> implements AsyncIterable<T> {
  readonly #capacity: number;
  readonly #items: T[] = [];
  /** Given to the reader, and not known to be taken. */
  #given: T[] = [];
  /** `undefined` while the reader has not said anything: one of an earlier release never does. */
  #taken: number | undefined;
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

  /** So many, of those that the reader was given, are done with. */
  taken(count: number): void {
    this.#given.splice(0, count - (this.#taken ?? 0));
    this.#taken = count;
  }

  /**
   * The reader is done. `again` says what of the messages that are not known to be taken goes to the next one; without it they
   * are lost.
   */
  endReading(again: (given: readonly T[]) => readonly T[] = () => []): void {
    this.#reader++;
    this.#wakeReader?.();
    this.#items.unshift(...again(this.#given));
    this.#given = [];
    this.#taken = undefined;
  }

  /** Reads what is there and comes. A later reader takes the place of an earlier one, which then ends. */
  async *[Symbol.asyncIterator](): AsyncGenerator<T> {
    const reader = ++this.#reader;
    this.#wakeReader?.();
    while (reader === this.#reader) {
      const item = this.#items.shift();
      if (item !== undefined) {
        this.#wakeWriter?.();
        if (this.#taken !== undefined || this.#given.length < mostUncounted) this.#given.push(item);
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
