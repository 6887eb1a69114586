import { setTimeout as sleep } from 'node:timers/promises';
import { FlotillaError } from '@flotilla/errors';
import type { WaitContainerRequest, WaitContainerResponse } from '@flotilla/proto/flotilla/v1/container';
import type { CallContext } from '@flotilla/rpc';
import type { SupervisorClient } from '../adapters/owners.ts';
import { Patience } from '../domain/resume.ts';

/**
 * ContainerService.WaitContainer: passed on, and asked again when the supervisor restarts meanwhile. A wait for the next
 * exit that does not say after which run cannot be: its meaning depends on when it is asked. Answers SERVICE_STOPPING once
 * `stopping` is aborted: a wait may last for ever, and must not keep a successor from starting.
 */
export function waitContainer(supervisor: SupervisorClient, resumeMs: number, stopping: AbortSignal) {
  return async (
    request: WaitContainerRequest,
    { signal: caller, deadline }: CallContext,
  ): Promise<WaitContainerResponse> => {
    const signal = AbortSignal.any([caller, stopping]);
    const repeatable = request.condition !== 'WAIT_CONDITION_NEXT_EXIT' || request.afterRun !== undefined;
    const patience = new Patience(resumeMs);
    for (let established = false; ; ) {
      const startedAt = Date.now();
      const deadlineMs = deadline === undefined ? Number.POSITIVE_INFINITY : Math.max(+deadline - startedAt, 0);
      try {
        return await supervisor.waitContainer(request, { signal, deadlineMs });
      } catch (error) {
        if (stopping.aborted) throw serviceStopping();
        // A supervisor that was never there is the caller's to know; one that was there comes back.
        established ||= lost(error);
        if (!repeatable || !established || signal.aborted || !patience.allows(error)) throw error;
        if (Date.now() - startedAt > 1_000) patience.restore();
      }
      await sleep(50, undefined, { signal });
    }
  };
}

function serviceStopping(): FlotillaError {
  return new FlotillaError('unavailable', 'the api service is stopping', {
    reason: 'SERVICE_STOPPING',
    metadata: { service: 'api' },
  });
}

/** The connection broke under the call, unlike one that could not be made in time. */
function lost(error: unknown): boolean {
  return !(error instanceof Error && 'metadata' in error && 'deadlineMs' in (error.metadata as object));
}
