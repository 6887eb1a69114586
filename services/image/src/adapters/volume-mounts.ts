import type { EventPublisher } from '@flotilla/events';
import { nowUnixNano } from '@flotilla/linux';
import type { Database } from '@flotilla/store';
import { volumeNotFound } from '../domain/errors.ts';
import type { VolumeMount } from '../domain/volume.ts';
import { parseVolumeOptions, type VolumeDevice } from '../domain/volume-options.ts';
import type { VolumeStore } from '../store/volume-store.ts';
import { mountPointsIn, unmountAll } from './mount-points.ts';
import { mountVolume } from './mount-volume.ts';

export interface VolumeMountsOptions {
  readonly database: Database;
  readonly store: VolumeStore;
  readonly publisher: EventPublisher;
  /** Folder of a volume's files. */
  readonly path: (name: string) => string;
}

/**
 * Volumes of containers that run. One with options of the driver is mounted on its folder, in the host's mount namespace,
 * while any container runs with it. Who runs is written down before anything is mounted, so that a process that was killed
 * leaves nothing mounted that the next does not find.
 */
export class VolumeMounts {
  readonly #options: VolumeMountsOptions;
  /** The last work on each container. */
  readonly #queues = new Map<string, Promise<void>>();
  /** mount(2) under way, by volume. */
  readonly #mounting = new Map<string, Promise<void>>();
  /** Held by this process for a while, by volume. */
  readonly #held = new Map<string, number>();

  constructor(options: VolumeMountsOptions) {
    this.#options = options;
  }

  /** Containers that run with volumes. */
  keys(): string[] {
    return this.#options.store.mountKeys();
  }

  isBusy(name: string): boolean {
    return this.#mounting.has(name) || this.#held.has(name) || this.#options.store.isMounted(name);
  }

  /** Makes a container's volumes ready for it to run. FAILED_PRECONDITION / VOLUME_MOUNT_FAILED: then nothing is done. */
  mount(key: string, mounts: readonly VolumeMount[], signal?: AbortSignal): Promise<void> {
    return this.#queued(key, async () => {
      const { database, store } = this.#options;
      const devices = new Map(mounts.map(({ name }) => [name, this.#deviceOf(name)]));
      database.transact(() => {
        for (const [position, { name }] of mounts.entries()) store.beginMount(key, position, name);
        if ([...devices.values()].every((device) => device === undefined)) this.#finish(key, mounts);
      });
      try {
        for (const [name, device] of devices) {
          if (device !== undefined) await untilAborted(this.#ensureMounted(name, device), signal);
        }
        database.transact(() => this.#finish(key, mounts));
      } catch (error) {
        this.#end(key);
        throw error;
      }
    });
  }

  /** A container runs no more. */
  unmount(key: string): Promise<void> {
    return this.#queued(key, async () => this.#end(key));
  }

  /** Works on a volume's files, mounted if it has options. */
  async withMounted<T>(name: string, work: (device: VolumeDevice | undefined) => Promise<T>): Promise<T> {
    using _held = await this.hold(name);
    return await work(this.#deviceOf(name));
  }

  /** Keeps a volume, mounted if it has options, until it is disposed. */
  async hold(name: string): Promise<Disposable> {
    const device = this.#deviceOf(name);
    this.#held.set(name, (this.#held.get(name) ?? 0) + 1);
    const letGo = () => {
      const left = (this.#held.get(name) ?? 1) - 1;
      if (left > 0) this.#held.set(name, left);
      else this.#held.delete(name);
      this.#unmountUnused(name);
    };
    try {
      if (device !== undefined) await this.#ensureMounted(name, device);
    } catch (error) {
      letGo();
      throw error;
    }
    return { [Symbol.dispose]: letGo };
  }

  /**
   * At start: what the process before this one left mounted and nobody has. One that was being mounted may lack what a mount
   * gets by further calls, such as that it is read-only: it is mounted anew.
   */
  unmountLeftovers(): void {
    const { store, path } = this.#options;
    for (const { name, options } of store.list()) {
      if (Object.keys(options).length > 0 && !store.isMountedWhole(name)) unmountAll(path(name));
    }
  }

  #deviceOf(name: string): VolumeDevice | undefined {
    const volume = this.#options.store.find(name);
    if (volume === undefined) throw volumeNotFound(name);
    return parseVolumeOptions(volume.options, 'options');
  }

  #ensureMounted(name: string, device: VolumeDevice): Promise<void> {
    const running = this.#mounting.get(name);
    if (running !== undefined) return running;
    const path = this.#options.path(name);
    if (mountPointsIn(path).includes(path)) return Promise.resolve();
    const work = mountVolume(name, device, path).finally(() => {
      this.#mounting.delete(name);
      // Whoever wanted it may have gone meanwhile.
      this.#unmountUnused(name);
    });
    this.#mounting.set(name, work);
    work.catch(() => {}); // Told to those who wait, if any still do.
    return work;
  }

  #finish(key: string, mounts: readonly VolumeMount[]): void {
    for (const [position, { name, target, readOnly, propagation }] of mounts.entries()) {
      if (!this.#options.store.finishMount(key, position)) continue;
      this.#announce('mount', name, {
        container: key,
        destination: target,
        propagation,
        'read/write': String(!readOnly),
      });
    }
  }

  #end(key: string): void {
    const { database, store } = this.#options;
    const mounts = store.mountsOf(key);
    if (mounts.length === 0) return;
    database.transact(() => {
      store.endMounts(key);
      for (const { name, mounted } of mounts) if (mounted) this.#announce('unmount', name, { container: key });
    });
    for (const name of new Set(mounts.map(({ name }) => name))) this.#unmountUnused(name);
  }

  #unmountUnused(name: string): void {
    const volume = this.#options.store.find(name);
    if (volume === undefined || Object.keys(volume.options).length === 0 || this.isBusy(name)) return;
    unmountAll(this.#options.path(name));
  }

  #announce(action: 'mount' | 'unmount', name: string, attributes: Readonly<Record<string, string>>): void {
    this.#options.publisher.announce({
      type: 'volume',
      action,
      actorId: name,
      attributes: { ...attributes, driver: 'local' },
      timeUnixNano: nowUnixNano(),
    });
  }

  /** One after the other for a container. */
  #queued(key: string, work: () => Promise<void>): Promise<void> {
    const before = this.#queues.get(key) ?? Promise.resolve();
    const mine = before.catch(() => {}).then(work);
    this.#queues.set(key, mine);
    const forget = () => {
      if (this.#queues.get(key) === mine) this.#queues.delete(key);
    };
    mine.then(forget, forget);
    return mine;
  }
}

/** Stops waiting when nobody wants the result any more. */
async function untilAborted(work: Promise<void>, signal: AbortSignal | undefined): Promise<void> {
  if (signal === undefined) return work;
  signal.throwIfAborted();
  const { promise, reject } = Promise.withResolvers<never>();
  const onAbort = () => reject(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    await Promise.race([work, promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
