import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { Worker } from 'node:worker_threads';
import { FlotillaError } from '@flotilla/errors';
import { isErrno, mountWithOptions, type OptionMount, parseMountOptions } from '@flotilla/linux';
import { addressOf, mountsAtOnce, type VolumeDevice, withAddress } from '../domain/volume-options.ts';
import type { MountAnswer } from './mount-worker.ts';

/**
 * Mounts what a volume's options name. What may wait for a network or a disk is mounted by a thread of its own, so that the
 * service goes on answering. FAILED_PRECONDITION / VOLUME_MOUNT_FAILED.
 */
export async function mountVolume(name: string, device: VolumeDevice, target: string): Promise<void> {
  try {
    if (mountsAtOnce(device)) mountWithOptions(mountOf(device, target));
    else await mountInThread(mountOf(await withResolvedAddress(device), target));
  } catch (error) {
    throw mountFailed(name, device, error);
  }
}

/** What goes to mount(2). */
export function mountOf({ type, device, options }: VolumeDevice, target: string): OptionMount {
  return { type, source: device, target, options: parseMountOptions(options) };
}

/** The kernel's clients of network file systems know addresses alone. */
export async function withResolvedAddress(device: VolumeDevice): Promise<VolumeDevice> {
  const host = addressOf(device);
  if (host === undefined || isIP(host) !== 0) return device;
  const { address } = await lookup(host);
  return withAddress(device, address);
}

async function mountInThread(mount: OptionMount): Promise<void> {
  const worker = new Worker(new URL('./mount-worker.ts', import.meta.url), { workerData: mount });
  const { promise, resolve, reject } = Promise.withResolvers<MountAnswer>();
  worker.once('message', resolve);
  worker.once('error', reject);
  worker.once('exit', () => reject(new Error('the mounting thread ended')));
  const answer = await promise;
  if (answer !== 'mounted') throw Object.assign(new Error(answer.message), { code: answer.code });
}

function mountFailed(name: string, { type, device }: VolumeDevice, cause: unknown): FlotillaError {
  const { code = 'unknown', message = '' } = cause as { code?: string; message?: string };
  const why = isErrno(cause, 'ENODEV') ? `this kernel has no file system ${type}` : message;
  return new FlotillaError('failed_precondition', `volume ${name} could not be mounted (${device}, ${type}): ${why}`, {
    reason: 'VOLUME_MOUNT_FAILED',
    // Not the options: a password may be among them.
    metadata: { name, type, device, error: code },
    cause,
  });
}
