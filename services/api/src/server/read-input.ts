import type { AttachRequest } from '@flotilla/proto/flotilla/shim/v1/shim';
import type { WindowSize } from '@flotilla/proto/flotilla/v1/stream';
import { DetachScanner, parseDetachKeys } from '../domain/detach-keys.ts';
import { InputQueue } from '../domain/input-queue.ts';

/** What clients of AttachContainer and of StartExec send after the first message; both are alike. */
export interface ClientMessage {
  readonly message:
    | { readonly $case: 'start'; readonly value: unknown }
    | { readonly $case: 'stdin'; readonly value: Buffer }
    | { readonly $case: 'closeStdin'; readonly value: unknown }
    | { readonly $case: 'resize'; readonly value: WindowSize }
    | undefined;
}

export interface InputOptions {
  readonly tty: boolean;
  /** The client said that it sends input; what comes without that is dropped. */
  readonly wanted: boolean;
  readonly detachKeys: string;
}

/** A client's input, ready for a shim. */
export interface ClientInput extends Disposable {
  readonly queue: InputQueue<AttachRequest>;
  /** Settles when the client has pressed its detach keys. */
  readonly detached: Promise<'detached'>;
  readonly isDetached: boolean;
}

/**
 * Reads what a client sends, looks for its detach keys when there is a terminal, and queues the rest for the shim. The end
 * of the client's requests is no end of the container's input: a client that dies must not end a shell that others use.
 */
export function readInput(client: AsyncIterator<ClientMessage>, options: InputOptions): ClientInput {
  const { tty, wanted, detachKeys } = options;
  const queue = new InputQueue(sizeOf);
  const scanner = new DetachScanner(parseDetachKeys(detachKeys));
  const { promise: detached, resolve } = Promise.withResolvers<'detached'>();
  let isDetached = false;
  const stdin = async (value: Buffer): Promise<void> => {
    if (value.length > 0) await queue.push({ message: { $case: 'stdin', value } });
  };
  const pass = async ({ message }: ClientMessage): Promise<void> => {
    if (message?.$case === 'resize') return queue.push({ message: { $case: 'resize', value: message.value } });
    if (!wanted) return;
    if (message?.$case === 'closeStdin') {
      if (tty) await stdin(scanner.flush());
      return queue.push({ message: { $case: 'closeStdin', value: {} } });
    }
    if (message?.$case !== 'stdin') return;
    if (!tty) return stdin(message.value);
    const scanned = scanner.scan(message.value);
    await stdin(scanned.data);
    isDetached = scanned.detached;
  };
  const pump = async (): Promise<void> => {
    while (!isDetached) {
      const { done, value } = await client.next();
      if (done === true) return;
      await pass(value);
    }
    resolve('detached');
  };
  pump().catch(() => {}); // The client went away: its call is cancelled, which ends everything else.
  return {
    queue,
    detached,
    get isDetached() {
      return isDetached;
    },
    [Symbol.dispose]: () => queue.close(),
  };
}

/** With what a message without bytes takes. */
export function sizeOf({ message }: AttachRequest): number {
  return 256 + (message?.$case === 'stdin' ? message.value.length : 0);
}
