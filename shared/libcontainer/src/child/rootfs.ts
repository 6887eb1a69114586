import { accessSync, constants, openSync } from 'node:fs';
import {
  changeDirectory,
  changeDirectoryTo,
  closeFd,
  isErrno,
  MOUNT_ATTR_RDONLY,
  MS_BIND,
  MS_NODEV,
  MS_NOEXEC,
  MS_NOSUID,
  MS_RDONLY,
  MS_REC,
  MS_SLAVE,
  mount,
  mountOverlay,
  O_PATH,
  openTree,
  parseOverlay,
  pivotRoot,
  setMountAttributes,
  umount,
} from '@flotilla/linux';
import type { RootfsPlan } from '../plan/init-plan.ts';
import type { MountPlan } from '../plan/mount-plan.ts';
import { diskFull, step } from '../setup-error.ts';

const mostDataBytes = 4095;

/** The host's mounts no longer hear of ours; ours still hear of theirs, as `rslave` volumes need. */
export function detachFromHost(): void {
  step('make the mounts private', () => mount({ target: '/', flags: MS_REC | MS_SLAVE }));
}

/** Mounts the layers on the target folder. Paths are the engine's own, not the image's. */
export function mountLayers({ target, layers }: RootfsPlan): void {
  for (const layer of layers) step(`mount ${layer.type} as root filesystem`, () => mountLayer(target, layer));
}

function mountLayer(target: string, layer: MountPlan): void {
  const { type, source, recursive, attributes, propagation } = layer;
  if (type === 'bind') {
    mount({ source, target, flags: MS_BIND | (recursive ? MS_REC : 0) });
  } else {
    const { set } = attributes;
    mountWithin(target, layer, set & (MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC)); // the same bits as MOUNT_ATTR_…
    if ((set & MS_RDONLY) === 0 && layer.data.some((option) => option.startsWith('upperdir='))) mustBeWritable(target);
  }
  const fd = openRoot(target);
  try {
    if ((attributes.set | attributes.clear) !== 0) setMountAttributes(fd, attributes);
    for (const { flag, recursive: below } of propagation)
      setMountAttributes(fd, { propagation: flag, recursive: below });
  } finally {
    closeFd(fd);
  }
}

/**
 * An overlay for whose work folder there is no room is mounted read-only instead, and only the kernel's own log says so: the
 * container would not be what was asked for.
 */
function mustBeWritable(target: string): void {
  try {
    accessSync(target, constants.W_OK);
  } catch (error) {
    throw isErrno(error, 'EROFS') ? diskFull('mount the root filesystem') : error;
  }
}

/** mount(2) takes a page of options; more layers than that are named in other ways. */
function mountWithin(target: string, { type, source, data }: MountPlan, flags: number): void {
  const text = data.join(',');
  if (type === 'overlay' && Buffer.byteLength(text) > mostDataBytes)
    mountOverlay(target, parseOverlay(data), { flags });
  else mount({ source, target, type, flags, data: text });
}

/** The container's root by descriptor. */
export function openRoot(target: string): number {
  return openSync(target, constants.O_DIRECTORY | constants.O_NOFOLLOW | O_PATH);
}

/** A copy of the finished layers that can be taken into a user namespace. */
export function takeTree(target: string): number {
  return openTree(target, { recursive: true });
}

/** pivot_root(2) by descriptor, the old root detached: nothing of the host can be reached by a path any more. */
export function enterRoot(rootFd: number, { propagation, readonly }: RootfsPlan): void {
  step('make the root filesystem read-only', () => {
    if (readonly) setMountAttributes(rootFd, { set: MOUNT_ATTR_RDONLY });
  });
  step('enter the root filesystem', () => {
    changeDirectoryTo(rootFd);
    pivotRoot('.', '.');
    umount('.', { detach: true });
    changeDirectory('/');
  });
  if (propagation !== undefined) {
    step('set the propagation of the root filesystem', () => mount({ target: '/', flags: propagation }));
  }
}
