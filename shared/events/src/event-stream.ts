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

/** Makes the stream, or leaves it as it is: an operator may have changed its limits. */
export async function ensureEventStream(manager: JetStreamManager): Promise<void> {
  try {
    await manager.streams.info(eventStream);
    return;
  } catch (error) {
    if ((error as { api_error?: { code: number } }).api_error?.code !== 404) throw error;
  }
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
  });
}
