import type { ContainerRecord } from './container.ts';
import type { Engine } from './engine.ts';

/** Docker's check: mounts can reach a container, or its own the host, only through a mount that is shared. */
export function checkPropagation({ files }: Engine, { made }: ContainerRecord): void {
  for (const [index, { type, hostPath, propagation }] of (made?.mounts ?? []).entries()) {
    if (type === 'MOUNT_TYPE_BIND') files.checkPropagation(hostPath, propagation, `mounts[${index}].propagation`);
  }
}

/** Has a container's volumes mounted; those without options of the driver are there already, but it is told. */
export async function mountVolumes({ images }: Engine, { containerId, made }: ContainerRecord): Promise<void> {
  const volumes = (made?.mounts ?? []).filter(({ type }) => type === 'MOUNT_TYPE_VOLUME');
  if (volumes.length === 0) return;
  await images.mountVolumes(
    containerId,
    volumes.map(({ source, target, readOnly, propagation }) => ({ name: source, target, readOnly, propagation })),
  );
}

/** Takes the volumes of a run that is over away again. */
export async function unmountVolumes({ images }: Engine, record: ContainerRecord | undefined): Promise<void> {
  const hasVolumes = record?.made?.mounts.some(({ type }) => type === 'MOUNT_TYPE_VOLUME') === true;
  if (hasVolumes) await images.unmountVolumes(record.containerId);
}
