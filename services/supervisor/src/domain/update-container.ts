import { FlotillaError, invalidField } from '@flotilla/errors';
import { type ContainerRecord, containerEvent } from './container.ts';
import type { ContainerConfig, Resources, RestartPolicy } from './container-config.ts';
import { isLive } from './container-state.ts';
import { type Engine, mustGet } from './engine.ts';
import { changedParts, mergeResources } from './merge-resources.ts';
import { waitsForRestart, wantsRestart } from './restart-policy.ts';
import { buildResources } from './spec/resources.ts';
import { checkResources, resourceWarnings } from './validation/resources.ts';
import { checkPolicy } from './validation/restart-policy.ts';

export interface UpdateRequest {
  readonly resources: Resources | undefined;
  readonly restartPolicy: RestartPolicy | undefined;
}

/**
 * Changes limits and restart policy: in the kernel first, for a container that runs, and then in the record. Returns
 * warnings. FAILED_PRECONDITION / CONTAINER_REMOVING.
 */
export async function updateContainer(
  engine: Engine,
  reference: string,
  request: UpdateRequest,
): Promise<readonly string[]> {
  const { repository, queue, due, now } = engine;
  const { containerId } = repository.find(reference);
  return queue.run(containerId, async () => {
    const record = mustGet(engine, containerId);
    checkPresent(record);
    const config = mergeConfig(record.config, request);
    const { resources } = request;
    const warnings: string[] = [];
    if (resources !== undefined && config.resources !== undefined) {
      checkResources(config.resources, engine.facts);
      warnings.push(...resourceWarnings(resources, engine.facts));
      if (isLive(record.state)) {
        const parts = changedParts(buildResources(config, [], engine.facts), resources);
        warnings.push(...engine.shims.limit(containerId, parts));
      }
    }
    const updated = stillWaiting({ ...record, config });
    if (updated.restarts.pending === undefined) due.clear(containerId);
    repository.save({ container: updated, events: [containerEvent(updated, 'update', now())] });
    await repository.flush();
    return warnings;
  });
}

function checkPresent({ state, name, containerId }: ContainerRecord): void {
  if (state !== 'removing' && state !== 'dead') return;
  throw new FlotillaError('failed_precondition', `container ${name} is being removed and cannot be changed`, {
    reason: 'CONTAINER_REMOVING',
    metadata: { containerId, state },
  });
}

function mergeConfig(config: ContainerConfig, { resources, restartPolicy }: UpdateRequest): ContainerConfig {
  if (restartPolicy !== undefined) {
    if (restartPolicy.name === '') throw invalidField('restart_policy.name', 'given');
    checkPolicy(restartPolicy, config.autoRemove);
  }
  return {
    ...config,
    ...(resources === undefined ? {} : { resources: mergeResources(config.resources, resources) }),
    ...(restartPolicy === undefined ? {} : { restartPolicy }),
  };
}

/** One that waits for a restart which the policy no longer wants has exited, and that is all. */
function stillWaiting(record: ContainerRecord): ContainerRecord {
  const { restarts, config, exitCode } = record;
  if (!waitsForRestart(record) || restarts.pending?.byUser === true) return record;
  const before = { ...restarts, count: restarts.count - 1 };
  if (wantsRestart(config.restartPolicy, before, exitCode)) return record;
  return { ...record, restarts: { ...before, pending: undefined } };
}
