import { FlotillaError } from '@flotilla/errors';
import type { AttachRequest, AttachResponse, AttachStart } from '@flotilla/proto/flotilla/shim/v1/shim';
import type { ShimClient } from '../adapters/shim-connections.ts';
import type { ClientInput } from './read-input.ts';

/** How long a shim has to let a client go. */
const farewellMs = 1_000;

/**
 * One ShimService.Attach. When `signal` is aborted because the client has gone, the shim is told so: a connection that
 * merely breaks, as when this service is stopped, is one to which the client may come back.
 */
export async function* callShim(
  shim: ShimClient,
  start: AttachStart,
  { queue }: ClientInput,
  signal: AbortSignal,
): AsyncGenerator<AttachResponse> {
  const cut = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const leave = () => {
    queue.end({ message: { $case: 'leave', value: {} } });
    timer ??= setTimeout(() => cut.abort(), farewellMs);
  };
  const depart = () => (isStopping(signal) ? cut.abort() : leave());
  signal.addEventListener('abort', depart, { once: true });
  if (signal.aborted) depart();
  const { promise: started, resolve: onAnswer } = Promise.withResolvers<void>();
  const messages = shim.attach(requestsOf(start, queue, started), { signal: cut.signal })[Symbol.asyncIterator]();
  let over = false;
  const next = async (): Promise<AttachResponse | undefined> => {
    over = true; // Unless it gives a message.
    const { done, value } = await messages.next();
    if (done === true) return undefined;
    over = false;
    onAnswer();
    return value;
  };
  try {
    for (let message = await next(); message !== undefined; message = await next()) {
      if (!signal.aborted) yield message;
    }
  } finally {
    signal.removeEventListener('abort', depart);
    if (!over) depart();
    while (!over) await next().catch(() => {});
    clearTimeout(timer);
  }
}

/** No input before the shim has answered: a call that does not reach it, because it is being replaced, takes none with it. */
async function* requestsOf(
  start: AttachStart,
  queue: ClientInput['queue'],
  started: Promise<void>,
): AsyncGenerator<AttachRequest> {
  yield { message: { $case: 'start', value: start } };
  await started;
  yield* queue;
}

/** This service ends, not the client. */
function isStopping({ reason }: AbortSignal): boolean {
  return reason instanceof FlotillaError;
}
