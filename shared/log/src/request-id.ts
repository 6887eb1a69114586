import { AsyncLocalStorage } from 'node:async_hooks';
import { randomBytes } from 'node:crypto';

const current = new AsyncLocalStorage<string>();

/** Makes an id for a request that comes without one: 16 hexadecimal digits. */
export function newRequestId(): string {
  return randomBytes(8).toString('hex');
}

/** The id of the request that is being worked on: crosses gRPC and NATS, stands in each log line. */
export function currentRequestId(): string | undefined {
  return current.getStore();
}

/** Does work, and all that comes of it asynchronously, in the name of a request. */
export function withRequestId<T>(requestId: string, work: () => T): T {
  return current.run(requestId, work);
}
