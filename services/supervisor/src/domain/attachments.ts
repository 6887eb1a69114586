import { invalidField } from '@flotilla/errors';
import { containerEvent } from './container.ts';
import type { Engine } from './engine.ts';

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** As ResolveTaskRequest has them. */
export interface AttachmentOptions {
  readonly attachmentId: string;
  readonly reportsEnd: boolean;
  readonly resumes: boolean;
}

/**
 * Announces that a client attaches to a container, once for each id; `reportsEnd`: and its end will be told. INVALID_FIELD.
 */
export function announceAttach(
  { repository, attachments, now }: Engine,
  containerId: string,
  { attachmentId, reportsEnd, resumes }: AttachmentOptions,
): void {
  if (!uuid.test(attachmentId)) throw invalidField('attachment_id', 'a UUID', attachmentId);
  const event = { ...containerEvent(repository.find(containerId), 'attach', now()), eventId: attachmentId };
  if (!resumes) repository.save({ events: [event] });
  if (reportsEnd) attachments.begin(containerId, attachmentId);
}

/**
 * Announces that a client has left a container, or an exec, by its detach keys: once for each id. Nothing when the
 * container is gone. INVALID_FIELD.
 */
export function announceDetach(
  { repository, now }: Engine,
  { containerId, execId, eventId }: { readonly containerId: string; readonly execId: string; readonly eventId: string },
): void {
  if (!uuid.test(eventId)) throw invalidField('event_id', 'a UUID', eventId);
  const record = repository.get(containerId);
  if (record === undefined) return;
  const [action, attributes] = execId === '' ? ['detach', {}] : ['exec_detach', { execID: execId }];
  repository.save({ events: [{ ...containerEvent(record, action, now(), attributes), eventId }] });
}
