import { hasReason } from '@flotilla/errors';
import type { Logger } from '@flotilla/log';
import type { SupervisorClient } from '../adapters/owners.ts';

/** How long a client that has to read the rest from the log may take to begin. */
const restMs = 2_000;

export interface Attachment {
  readonly containerId: string;
  /** Empty for one of a client that does not know it. */
  readonly attachmentId: string;
}

/**
 * Tells the supervisor, at the end of a call, that the client has had all that it will get: a container that is removed when it
 * exits waits for that. A client that comes back when this process has been replaced goes on with the same attachment. Told
 * to nobody, a container waits a moment longer, no more.
 */
export class AttachmentEnd implements Disposable {
  readonly #supervisor: SupervisorClient;
  readonly #attachment: Attachment;
  readonly #signal: AbortSignal;
  readonly #log: Logger;
  /** Set with the last message. */
  hasAll = false;

  constructor(
    supervisor: SupervisorClient,
    attachment: Attachment,
    { signal, log }: { readonly signal: AbortSignal; readonly log: Logger },
  ) {
    this.#supervisor = supervisor;
    this.#attachment = attachment;
    this.#signal = signal;
    this.#log = log;
  }

  [Symbol.dispose](): void {
    const { aborted, reason } = this.#signal;
    if (this.#attachment.attachmentId === '' || hasReason(reason, 'SERVICE_STOPPING')) return;
    if (this.hasAll || aborted) this.#report();
    else setTimeout(() => this.#report(), restMs).unref();
  }

  #report(): void {
    this.#supervisor.reportAttachmentEnd(this.#attachment).catch((err: unknown) => {
      this.#log.debug({ ...this.#attachment, err }, 'the end of an attachment could not be told');
    });
  }
}
