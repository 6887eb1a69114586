import { FlotillaError } from '@flotilla/errors';
import { SnapshotServiceService } from '@flotilla/proto/flotilla/image/v1/snapshot';
import { UsageServiceService } from '@flotilla/proto/flotilla/image/v1/usage';
import { ImageConfig } from '@flotilla/proto/flotilla/v1/image';
import { type Client, connect } from '@flotilla/rpc';
import type { ImageFacts, Images, RootfsMount, SnapshotFile, VolumeMount, VolumeWish } from '../domain/ports.ts';

const mostCachedFiles = 512;
const calls = { ...SnapshotServiceService, getSnapshotUsage: UsageServiceService.getSnapshotUsage };
/** Where the file system can do no better, a snapshot is a copy of the whole image. */
const copyDeadlineMs = 600_000;
/** Volumes are filled, or wait for a network. */
const volumeDeadlineMs = 600_000;

/** The image service. */
export class ImageClient implements Images, Disposable {
  readonly #client: Client<typeof calls>;
  /** From prepare to the end of the container: how to mount does not change while the image service runs. */
  readonly #mounts = new Map<string, readonly RootfsMount[]>();
  /** Files of images by image id and path: images never change. */
  readonly #files = new Map<string, Uint8Array | undefined>();

  constructor(address: string, deadlineMs: number) {
    this.#client = connect(calls, { address, name: 'image', deadlineMs, retry: true });
  }

  async resolve(image: string): Promise<ImageFacts> {
    const { image: found } = await this.#client.resolveImage({ image });
    if (found === undefined) throw new Error('the image service answered without an image');
    return { imageId: found.imageId, config: found.config ?? ImageConfig.create() };
  }

  async prepareSnapshot(containerId: string, imageId: string): Promise<void> {
    const { mounts } = await this.#client.prepareSnapshot(
      { key: containerId, imageId },
      { deadlineMs: copyDeadlineMs },
    );
    this.#mounts.set(containerId, mounts);
  }

  async snapshotMounts(containerId: string): Promise<readonly RootfsMount[]> {
    const known = this.#mounts.get(containerId);
    if (known !== undefined) {
      // Once only: the image service may be another one by the next start.
      this.#mounts.delete(containerId);
      return known;
    }
    const { mounts } = await this.#client.getSnapshotMounts({ key: containerId });
    return mounts;
  }

  async removeSnapshot(containerId: string): Promise<void> {
    this.#mounts.delete(containerId);
    await this.#client.removeSnapshot({ key: containerId });
  }

  async listSnapshots(): Promise<readonly string[]> {
    const { keys } = await this.#client.listSnapshots({});
    return keys;
  }

  async usage(containerIds: readonly string[], signal: AbortSignal): Promise<ReadonlyMap<string, number>> {
    const options = { signal, deadlineMs: Number.POSITIVE_INFINITY };
    const { snapshots } = await this.#client.getSnapshotUsage({ keys: [...containerIds] }, options);
    return new Map(snapshots.map(({ key, writableBytes }) => [key, Number(writableBytes)]));
  }

  async prepareVolumes(containerId: string, wishes: readonly VolumeWish[]) {
    const { volumes } = await this.#client.prepareVolumes(
      { key: containerId, volumes: [...wishes] },
      { deadlineMs: volumeDeadlineMs },
    );
    return volumes;
  }

  async releaseVolumes(containerId: string, removeAnonymous: boolean): Promise<void> {
    await this.#client.releaseVolumes({ key: containerId, removeAnonymous });
  }

  async mountVolumes(containerId: string, volumes: readonly VolumeMount[]): Promise<void> {
    const request = { key: containerId, volumes: [...volumes] };
    await known(this.#client.mountVolumes(request, { deadlineMs: volumeDeadlineMs }));
  }

  async unmountVolumes(containerId: string): Promise<void> {
    await known(this.#client.unmountVolumes({ key: containerId }));
  }

  async listVolumeMounts(): Promise<readonly string[]> {
    return (await known(this.#client.listVolumeMounts({})))?.keys ?? [];
  }

  async readFile({ containerId, imageId, path, fresh }: SnapshotFile): Promise<Uint8Array | undefined> {
    const key = `${imageId} ${path}`;
    if (!fresh && this.#files.has(key)) return this.#files.get(key);
    const { found, data } = await this.#client.readSnapshotFile({ key: containerId, path });
    const content = found ? data : undefined;
    if (!fresh) this.#remember(key, content);
    return content;
  }

  /** Where the layers of a container are: for explain. */
  async layers(containerId: string): Promise<{ readonly layerPaths: readonly string[]; readonly upperPath: string }> {
    return this.#client.getSnapshotMounts({ key: containerId });
  }

  [Symbol.dispose](): void {
    this.#client[Symbol.dispose]();
  }

  #remember(key: string, content: Uint8Array | undefined): void {
    this.#files.set(key, content);
    const [oldest] = this.#files.keys();
    if (this.#files.size > mostCachedFiles && oldest !== undefined) this.#files.delete(oldest);
  }
}

/** An image service of the release before has no volumes that need mounting. */
async function known<T>(call: Promise<T>): Promise<T | undefined> {
  try {
    return await call;
  } catch (error) {
    if (error instanceof FlotillaError && error.code === 'unimplemented') return undefined;
    throw error;
  }
}
