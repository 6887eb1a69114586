import { DiscardPolicy, type JetStreamManager, nanos, RetentionPolicy, StorageType } from 'nats';

/** Name of the JetStream stream that holds the engine's history. */
export const eventStream = 'FLOTILLA_EVENTS';

const prefix = 'flotilla.events';
const day = 24 * 60 * 60 * 1_000;

/** Subject of an event. An action such as `exec_start: sh` ends at its first word: subjects have no blanks. */
export function eventSubject(type: string, action: string): string {
  return `${prefix}.${type}.${action.split(/[^a-z0-9_-]/i, 1)[0]}`;
}

/** Subjects of all events of a type. */
export function typeSubject(type: string): string {
  return `${prefix}.${type}.>`;
}

/**
 * Makes the stream, or leaves it as it is: an operator may have changed its limits. Sequences begin at the wall time in
 * milliseconds: where the history was lost, they go on above all that were ever given (as long as there were fewer than
 * a thousand events a second). Releases of NATS before 2.10 refuse `first_seq` and begin at 1 again.
 */
export async function ensureEventStream(manager: JetStreamManager, serverVersion: string): Promise<void> {
  if (await streamExists(manager)) return;
  try {
    await manager.streams.add({
      name: eventStream,
      subjects: [`${prefix}.>`],
      retention: RetentionPolicy.Limits,
      storage: StorageType.File,
      discard: DiscardPolicy.Old,
      max_age: nanos(30 * day),
      max_bytes: 1 << 30,
      duplicate_window: nanos(10 * 60 * 1_000),
      allow_direct: true,
      ...(knowsFirstSequence(serverVersion) ? { first_seq: Date.now() } : {}),
    });
  } catch (error) {
    // Another service was faster, by a first sequence of its own.
    if (!(await streamExists(manager))) throw error;
  }
}

async function streamExists(manager: JetStreamManager): Promise<boolean> {
  try {
    await manager.streams.info(eventStream);
    return true;
  } catch (error) {
    if ((error as { api_error?: { code: number } }).api_error?.code !== 404) throw error;
    return false;
  }
}

/** Whether a release of NATS takes `first_seq`: from 2.10 on. */
export function knowsFirstSequence(serverVersion: string): boolean {
  const [major = 0, minor = 0] = serverVersion.split('.').map(Number);
  return major > 2 || (major === 2 && minor >= 10);
}
