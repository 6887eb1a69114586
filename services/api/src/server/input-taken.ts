import { hasReason } from '@flotilla/errors';
import type { AttachRequest, InputTaken as Note } from '@flotilla/proto/flotilla/shim/v1/shim';
import type { InputQueue } from '../domain/input-queue.ts';

/** How much of a client's input a shim has taken, as it says itself. */
export class InputTaken {
  readonly #queue: InputQueue<AttachRequest>;
  #last: Note | undefined;

  constructor(queue: InputQueue<AttachRequest>) {
    this.#queue = queue;
  }

  note(note: Note): void {
    this.#last = note;
    this.#queue.taken(Number(note.messages));
  }

  /**
   * The call has ended so. A shim that makes way for another has said to the byte what it took: the next one gets the rest. Of
   * any other, what it did with what it has not named is not known: nothing is sent twice.
   */
  end(error: unknown): void {
    const last = hasReason(error, 'SHIM_REPLACED') ? this.#last : undefined;
    this.#queue.endReading(last && ((given) => withoutBeginning(given, Number(last.bytes))));
  }
}

/** Without so many bytes of the first message. */
function withoutBeginning(given: readonly AttachRequest[], bytes: number): readonly AttachRequest[] {
  const [first, ...rest] = given;
  if (bytes === 0 || first?.message?.$case !== 'stdin') return given;
  return [{ message: { $case: 'stdin', value: first.message.value.subarray(bytes) } }, ...rest];
}
