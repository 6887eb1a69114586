import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from '@flotilla/log';
import type { SupervisorClient } from '../adapters/owners.ts';
import { Patience } from '../domain/resume.ts';

export interface Detached {
  readonly containerId: string;
  /** Empty for init. */
  readonly execId: string;
}

/** Has it announced that a client has pressed its detach keys, beside what the client is told. */
export function reportDetach(
  supervisor: Pick<SupervisorClient, 'reportDetach'>,
  { containerId, execId }: Detached,
  { resumeMs, log }: { readonly resumeMs: number; readonly log: Logger },
): void {
  const request = { containerId, execId, eventId: randomUUID() };
  const patience = new Patience(resumeMs);
  const attempt = async (): Promise<void> => {
    for (;;) {
      try {
        await supervisor.reportDetach(request);
        return;
      } catch (error) {
        if (!patience.allows(error)) throw error;
      }
      await sleep(100, undefined, { ref: false });
    }
  };
  attempt().catch((err: unknown) => log.warn({ containerId, execId, err }, 'a detaching could not be announced'));
}
