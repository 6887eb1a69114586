import { SnapshotTreeServiceService } from '@flotilla/proto/flotilla/image/v1/snapshot_tree';
import { type Client, connect } from '@flotilla/rpc';
import {
  engineMountPoints,
  type FileChange,
  type SnapshotCommit,
  type SnapshotTrees,
} from '../domain/snapshot-trees.ts';

const mountPoints = [...engineMountPoints];

/** The image service, for files as a whole. Nothing is sent again: what a call that broke has come to is not known. */
export class SnapshotTreeClient implements SnapshotTrees, Disposable {
  readonly #client: Client<typeof SnapshotTreeServiceService>;

  constructor(address: string, deadlineMs: number) {
    this.#client = connect(SnapshotTreeServiceService, { address, name: 'image', deadlineMs });
  }

  async *changes(containerId: string, signal: AbortSignal): AsyncGenerator<readonly FileChange[]> {
    const pieces = this.#client.listSnapshotChanges({ key: containerId, mountPoints }, { signal });
    for await (const { changes } of pieces) yield changes;
  }

  async *export(containerId: string, signal: AbortSignal): AsyncGenerator<Buffer> {
    for await (const { chunk } of this.#client.exportSnapshot({ key: containerId }, { signal })) yield chunk;
  }

  async commit(request: SnapshotCommit, onCaptured: () => void, signal: AbortSignal): Promise<string> {
    const { containerId: key, ...settings } = request;
    for await (const { event } of this.#client.commitSnapshot({ ...settings, key, mountPoints }, { signal })) {
      if (event?.$case === 'captured') onCaptured();
      if (event?.$case === 'image') return event.value.imageId;
    }
    throw new Error('the image service answered without an image');
  }

  [Symbol.dispose](): void {
    this.#client[Symbol.dispose]();
  }
}
