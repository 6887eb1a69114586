import { closeSync, constants, openSync } from 'node:fs';
import { open } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import type { ChangedTree } from '../archive/changed-files.ts';
import type { Change } from '../archive/list-changes.ts';
import type { TreeResult } from '../archive/tree-job.ts';
import { inTreeThread } from '../archive/tree-thread.ts';
import { ThreadPipe } from '../threads/thread-pipe.ts';
import type { SnapshotStore } from './snapshot-store.ts';

export interface CaptureRequest {
  readonly key: string;
  readonly mountPoints: readonly string[];
  /** A file that is made. */
  readonly path: string;
  /** Of the tar. */
  readonly maxBytes: number;
}

/** Reads snapshots as a whole. What is removed while it is read is SNAPSHOT_NOT_FOUND, for something of it may be missing. */
export class SnapshotTrees {
  readonly #snapshots: SnapshotStore;

  constructor(snapshots: SnapshotStore) {
    this.#snapshots = snapshots;
  }

  /** What differs from the image, handed over in pieces. */
  async changes(
    key: string,
    mountPoints: readonly string[],
    onChanges: (changes: readonly Change[]) => void,
    signal: AbortSignal,
  ): Promise<void> {
    using tree = this.#open(key);
    await inTreeThread({ kind: 'changes', tree, mountPoints }, { signal, onChanges });
    this.#snapshots.imageOf(key);
  }

  /** Writes what was changed to a file, as a layer. */
  async capture({ key, mountPoints, path, maxBytes }: CaptureRequest, signal: AbortSignal): Promise<TreeResult> {
    using tree = this.#open(key);
    await using file = await open(path, 'wx', 0o600);
    const job = { kind: 'layer', tree, mountPoints, output: file.fd, maxBytes } as const;
    const result = await inTreeThread(job, { signal });
    this.#snapshots.imageOf(key);
    return result;
  }

  /** All of the root as a tar, in pieces of at most 1 MiB. */
  async *export(key: string, signal: AbortSignal): AsyncGenerator<Buffer, void> {
    const folder = this.#snapshots.openRoot(key);
    using pipe = new ThreadPipe('read');
    const pieces = pipe.stream as Readable;
    const ended = new AbortController();
    const written = inTreeThread(
      { kind: 'tree', folder, output: pipe.threadFd },
      { signal: AbortSignal.any([signal, ended.signal]) },
    ).finally(() => {
      pipe.closeThreadEnd();
      closeSync(folder);
    });
    written.catch(() => pieces.destroy());
    try {
      yield* pieces as AsyncIterable<Buffer>;
      await written;
      this.#snapshots.imageOf(key);
    } catch (error) {
      pieces.destroy();
      await written; // Its failure is the cause.
      throw error;
    } finally {
      pieces.destroy();
      ended.abort(new Error('nobody reads the tar any more'));
      await written.catch(() => {});
    }
  }

  #open(key: string): ChangedTree & Disposable {
    const { layerPaths, upperPath } = this.#snapshots.mounts(key);
    const whole = !this.#snapshots.stacked;
    const opened: number[] = [];
    const keep = (fd: number) => {
      opened.push(fd);
      return fd;
    };
    const close = () => {
      for (const fd of opened) closeSync(fd);
    };
    try {
      return {
        upper: keep(openSync(upperPath, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW)),
        merged: keep(this.#snapshots.openLayers(whole ? [upperPath] : [upperPath, ...layerPaths])),
        lower: layerPaths.length === 0 ? undefined : keep(this.#snapshots.openLayers(layerPaths)),
        whole,
        [Symbol.dispose]: close,
      };
    } catch (error) {
      close();
      throw error;
    }
  }
}
