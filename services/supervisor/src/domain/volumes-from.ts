import { FlotillaError, invalidField } from '@flotilla/errors';
import type { ContainerConfig, InheritedMount } from './container-config.ts';
import type { Engine } from './engine.ts';
import { parseVolumesFrom } from './validation/volumes-from.ts';

/** The bind mounts and volumes of other containers, a later container's over an earlier one's. NOT_FOUND / CONTAINER_NOT_FOUND. */
export function inheritMounts({ repository }: Engine, { volumesFrom, runtime }: ContainerConfig): InheritedMount[] {
  const byTarget = new Map<string, InheritedMount>();
  for (const [index, text] of volumesFrom.entries()) {
    const field = `volumes_from[${index}]`;
    const { container, readOnly } = parseVolumesFrom(text, field);
    const { made, state, containerId } = repository.find(container);
    if (made === undefined || state === 'removing' || state === 'dead') throw notThere(field, containerId, state);
    for (const { hostPath: _, ...mount } of made.mounts) {
      if (mount.type === 'MOUNT_TYPE_TMPFS') continue;
      if (mount.volumeSubpath !== '' && runtime !== '' && runtime !== 'flotilla') {
        throw invalidField(field, `without a part of a volume (at ${mount.target}) with runtime ${runtime}`, text);
      }
      const shared = { ...mount, readOnly: mount.readOnly || readOnly, noCopy: true, createSource: false };
      byTarget.set(mount.target, { ...shared, inherited: true });
    }
  }
  return [...byTarget.values()];
}

function notThere(field: string, containerId: string, state: string): FlotillaError {
  return new FlotillaError('failed_precondition', `${field}: container ${containerId.slice(0, 12)} is ${state}`, {
    reason: 'ILLEGAL_TRANSITION',
    metadata: { containerId, state, field },
  });
}
