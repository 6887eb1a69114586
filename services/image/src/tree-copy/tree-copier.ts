import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { SnapshotStore } from '../adapters/snapshot-store.ts';
import { ThreadPipe } from '../threads/thread-pipe.ts';
import type { ContainerPath } from './container-path.ts';
import { startCopyThread } from './copy-thread.ts';
import type { PathStat } from './find-path.ts';
import type { JoinedMount, TreeSource } from './open-tree.ts';

/** What a container sees, as the supervisor tells it. */
export interface ContainerTree {
  readonly key: string;
  /** Its init; undefined when it does not run. */
  readonly process: { readonly pid: number; readonly startTime: number } | undefined;
  readonly mounts: readonly JoinedMount[];
  readonly readOnly: boolean;
}

export interface WriteOptions {
  readonly noOverwriteDirNonDir: boolean;
  readonly owner: { readonly uid: number; readonly gid: number } | undefined;
}

/** Volumes that must be mounted meanwhile, by their folders. */
export interface HeldVolumes {
  holdAt(paths: readonly string[]): Promise<Disposable>;
}

/** Copies files into and out of containers. */
export class TreeCopier {
  readonly #snapshots: SnapshotStore;
  readonly #volumes: HeldVolumes;
  readonly #mountPoint: string;
  /** A container that does not run is mounted once at a time: two mounts of one writable layer would not agree. */
  readonly #stopped = new Map<string, Promise<void>>();

  constructor(root: string, snapshots: SnapshotStore, volumes: HeldVolumes) {
    this.#snapshots = snapshots;
    this.#volumes = volumes;
    this.#mountPoint = join(root, 'tree');
    mkdirSync(this.#mountPoint, { recursive: true, mode: 0o700 });
  }

  async stat(tree: ContainerTree, path: ContainerPath, signal: AbortSignal): Promise<PathStat> {
    await using _turn = await this.#turn(tree, signal);
    const { stat, done } = startCopyThread({ kind: 'stat', source: this.#source(tree), path });
    await done;
    return stat;
  }

  /** What a path is, then it as a tar. */
  async *read(tree: ContainerTree, path: ContainerPath, signal: AbortSignal): AsyncGenerator<PathStat | Buffer, void> {
    await using _turn = await this.#turn(tree, signal);
    using pipe = new ThreadPipe('read');
    const source = this.#source(tree);
    const { stat, done } = startCopyThread({ kind: 'read', source, path, output: pipe.threadFd });
    const ended = done.finally(() => pipe.closeThreadEnd());
    ended.catch(() => {});
    const onAbort = () => pipe.stream.destroy();
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      yield await stat;
      yield* pipe.stream as AsyncIterable<Buffer>;
      await ended;
      if (tree.process === undefined) this.#snapshots.imageOf(tree.key); // Removed meanwhile: it may not be whole.
    } catch (error) {
      signal.throwIfAborted();
      throw error;
    } finally {
      signal.removeEventListener('abort', onAbort);
      // A thread that still writes finds that nobody reads.
      pipe.stream.destroy();
      await ended.catch(() => {});
    }
  }

  /** Unpacks a tar. */
  async write(
    tree: ContainerTree,
    path: ContainerPath,
    chunks: AsyncIterable<Uint8Array>,
    { signal, ...options }: WriteOptions & { readonly signal: AbortSignal },
  ): Promise<void> {
    await using _turn = await this.#turn(tree, signal);
    using pipe = new ThreadPipe('write');
    const source = this.#source(tree);
    const { done } = startCopyThread({ kind: 'write', source, path, input: pipe.threadFd, ...options });
    // Writing to a thread that has ended fails, instead of waiting.
    const ended = done.finally(() => pipe.closeThreadEnd());
    const sent = pipeline(chunks, pipe.stream as Writable, { signal });
    sent.catch(() => {});
    try {
      // The thread's failure is the cause of ours.
      await Promise.race([ended, sent.then(() => ended)]);
    } finally {
      pipe.stream.destroy();
      await ended.catch(() => {});
    }
    signal.throwIfAborted();
    await sent;
  }

  #source({ key, process, mounts, readOnly }: ContainerTree): TreeSource {
    if (process !== undefined) return { kind: 'running', key, ...process };
    const rootMounts = this.#snapshots.mounts(key).mounts;
    return { kind: 'stopped', key, rootMounts, mounts, readOnly, mountPoint: this.#mountPoint };
  }

  async #turn({ key, process, mounts }: ContainerTree, signal: AbortSignal): Promise<AsyncDisposable> {
    signal.throwIfAborted();
    if (process !== undefined) return { [Symbol.asyncDispose]: async () => {} };
    const before = this.#stopped.get(key);
    const { promise, resolve } = Promise.withResolvers<void>();
    const turn = (before ?? Promise.resolve()).then(() => promise);
    this.#stopped.set(key, turn);
    const leave = () => {
      resolve();
      if (this.#stopped.get(key) === turn) this.#stopped.delete(key);
    };
    try {
      await before;
      signal.throwIfAborted();
      const held = await this.#volumes.holdAt(mounts.map(({ source }) => source));
      return {
        [Symbol.asyncDispose]: async () => {
          held[Symbol.dispose]();
          leave();
        },
      };
    } catch (error) {
      leave();
      throw error;
    }
  }
}
