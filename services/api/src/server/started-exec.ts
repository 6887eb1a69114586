import { setTimeout as sleep } from 'node:timers/promises';
import type { Exec } from '@flotilla/proto/flotilla/v1/exec';
import type { SupervisorClient } from '../adapters/owners.ts';
import { askPatiently, Patience } from '../domain/resume.ts';

/** How long a start that is under way may take. */
const startingMs = 10_000;

/**
 * An exec that was started before, and where its streams are; undefined when it was not. Waits while it is being started,
 * and over restarts of the supervisor. NOT_FOUND / EXEC_NOT_FOUND.
 */
export async function findStartedExec(
  supervisor: SupervisorClient,
  execId: string,
  resumeMs: number,
  signal: AbortSignal,
): Promise<{ readonly exec: Exec; readonly shimAddress: string } | undefined> {
  const patience = new Patience(resumeMs);
  const endsAt = Date.now() + startingMs;
  for (;;) {
    const { exec } = await askPatiently(() => supervisor.getExec({ execId }, { signal }), patience, signal);
    if (exec === undefined) throw new Error('the supervisor answered without the exec');
    if (!exec.running && exec.exitCode === undefined) return undefined;
    if (exec.exitCode !== undefined) return { exec, shimAddress: '' };
    if (exec.pid !== 0 || Date.now() > endsAt) {
      const request = { container: exec.containerId, wait: false, attachmentId: '', reportsEnd: false, resumes: false };
      const { shimAddress } = await askPatiently(() => supervisor.resolveTask(request, { signal }), patience, signal);
      if (shimAddress !== '') return { exec, shimAddress };
    }
    await sleep(50, undefined, { signal });
  }
}
