/** Of what a reader was given and is not known to have taken. */
const mostGivenBytes = 16 << 20;

/**
 * Messages from a client on their way to a shim: bounded, so that a fast writer waits for a slow reader, and outliving any
 * one connection to the shim. What a shim that made way for another has not taken is read again: a reader that counts gets
 * no more while 16 MiB are open; of one that has not counted by then, nothing is kept.
 */
export class InputQueue<T> implements AsyncIterable<T> {
  readonly #sizeOf: (item: T) => number;
  readonly #capacity: number;
  readonly #items: T[] = [];
  /** Given to the reader, and not known to be taken; nothing any more once it was too much. */
  #given: T[] | undefined = [];
  #givenBytes = 0;
  /** `undefined` while the reader has not said anything: one of an earlier release never does. */
  #taken: number | undefined;
  #wakeReader: (() => void) | undefined;
  #wakeWriter: (() => void) | undefined;
  #closed = false;
  #reader = 0;

  /** `sizeOf`: bytes that a message takes, about. */
  constructor(sizeOf: (item: T) => number, capacity = 16) {
    this.#sizeOf = sizeOf;
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
    const done = this.#given?.splice(0, count - (this.#taken ?? 0)) ?? [];
    for (const item of done) this.#givenBytes -= this.#sizeOf(item);
    this.#taken = count;
    this.#wakeReader?.();
  }

  /**
   * The reader is done. `again` says what of the messages that are not known to be taken goes to the next one; without it they
   * are lost.
   */
  endReading(again: (given: readonly T[]) => readonly T[] = () => []): void {
    this.#reader++;
    this.#wakeReader?.();
    this.#items.unshift(...again(this.#given ?? []));
    this.#given = [];
    this.#givenBytes = 0;
    this.#taken = undefined;
  }

  /** Reads what is there and comes. A later reader takes the place of an earlier one, which then ends. */
  async *[Symbol.asyncIterator](): AsyncGenerator<T> {
    const reader = ++this.#reader;
    this.#wakeReader?.();
    while (reader === this.#reader) {
      const isFull = this.#taken !== undefined && this.#givenBytes >= mostGivenBytes;
      const item = isFull ? undefined : this.#items.shift();
      if (item !== undefined) {
        this.#wakeWriter?.();
        this.#keep(item);
        yield item;
      } else if (this.#closed && !isFull) return;
      else {
        await new Promise<void>((resolve) => {
          this.#wakeReader = resolve;
        });
      }
    }
  }

  #keep(item: T): void {
    if (this.#given === undefined) return;
    this.#given.push(item);
    this.#givenBytes += this.#sizeOf(item);
    if (this.#taken !== undefined || this.#givenBytes < mostGivenBytes) return;
    this.#given = undefined;
    this.#givenBytes = 0;
  }
}
