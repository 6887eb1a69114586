import { Readable } from 'node:stream';
import { canonicalReference } from '@flotilla/oci';
import {
  type CommitSnapshotRequest,
  CommitSnapshotResponse,
  type ListSnapshotChangesResponse,
  SnapshotTreeServiceService,
} from '@flotilla/proto/flotilla/image/v1/snapshot_tree';
import type { FileChangeKind } from '@flotilla/proto/flotilla/v1/container';
import { type Implementation, implement } from '@flotilla/rpc';
import type { ImageCommitter } from '../adapters/image-committer.ts';
import type { SnapshotTrees } from '../adapters/snapshot-trees.ts';
import type { Change } from '../archive/list-changes.ts';
import type { ImageStore } from '../store/image-store.ts';
import { tagged } from './image-service.ts';
import { configFromProto, imageToProto } from './to-proto.ts';

export interface SnapshotTreeDependencies {
  readonly images: ImageStore;
  readonly trees: SnapshotTrees;
  readonly committer: ImageCommitter;
}

const kinds: Readonly<Record<Change['kind'], FileChangeKind>> = {
  modified: 'FILE_CHANGE_KIND_MODIFIED',
  added: 'FILE_CHANGE_KIND_ADDED',
  deleted: 'FILE_CHANGE_KIND_DELETED',
};

/** flotilla.image.v1.SnapshotTreeService: what the supervisor asks for. */
export function snapshotTreeService({ images, trees, committer }: SnapshotTreeDependencies): Implementation {
  return implement(SnapshotTreeServiceService, {
    async *listSnapshotChanges({ key, mountPoints }, { signal }) {
      // Told as they come: who finds them too many ends the call, and with it the reading.
      const pieces = new Readable({ objectMode: true, read: () => {} });
      const onChanges = (changes: readonly Change[]) =>
        void pieces.push({ changes: changes.map(({ path, kind }) => ({ path, kind: kinds[kind] })) });
      const listed = trees.changes(key, mountPoints, onChanges, signal);
      listed.then(
        () => pieces.push(null),
        (error: Error) => pieces.destroy(error),
      );
      try {
        yield* pieces as AsyncIterable<ListSnapshotChangesResponse>;
      } finally {
        await listed.catch(() => {});
      }
    },
    async *exportSnapshot({ key }, { signal }) {
      for await (const chunk of trees.export(key, signal)) yield { chunk };
    },
    async *commitSnapshot(request, { signal }) {
      const { promise: captured, resolve: onCaptured } = Promise.withResolvers<void>();
      const committed = committer.commit(commitOf(request), onCaptured, signal);
      committed.catch(() => {}); // Awaited below.
      await Promise.race([captured, committed]);
      yield CommitSnapshotResponse.create({ event: { $case: 'captured', value: {} } });
      const image = await committed;
      const value = imageToProto(image, images.referencesOf(image.imageId));
      yield { event: { $case: 'image', value } };
    },
  });
}

function commitOf({ key, mountPoints, reference, config, author, comment, createdBy }: CommitSnapshotRequest) {
  return {
    ...{ key, mountPoints, author, comment, createdBy },
    reference: reference === '' ? undefined : canonicalReference(tagged(reference)),
    config: configFromProto(config),
  };
}
