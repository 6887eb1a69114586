import { FlotillaError } from '@flotilla/errors';
import { type ContainerRecord, containerEvent } from './container.ts';
import { type Engine, mustGet } from './engine.ts';
import { findUser } from './find-user.ts';
import type { ContainerTree, PathStat, Trees } from './ports.ts';

/** An engine that can copy files. */
export interface CopyEngine extends Engine {
  readonly trees: Trees;
}

/** Which container, and where in it. */
export interface CopyPlace {
  readonly container: string;
  readonly path: string;
}

export interface CopyInto extends CopyPlace {
  readonly noOverwriteDirNonDir: boolean;
  /** All of it belongs to the container's user, if it has one. */
  readonly copyUidGid: boolean;
}

/** What a path in a container is. NOT_FOUND / PATH_NOT_FOUND. */
export async function statPath(
  engine: CopyEngine,
  { container, path }: CopyPlace,
  signal: AbortSignal,
): Promise<PathStat> {
  using open = await openTree(engine, container, signal);
  return await orReason(open.signal, engine.trees.stat(open.tree, path, open.signal));
}

/** What a path in a container is, then it as a tar, in pieces. */
export async function* readFiles(
  engine: CopyEngine,
  { container, path }: CopyPlace,
  signal: AbortSignal,
): AsyncGenerator<PathStat | Uint8Array, void> {
  using open = await openTree(engine, container, signal);
  try {
    for await (const part of engine.trees.read(open.tree, path, open.signal)) {
      if (!(part instanceof Uint8Array)) announce(engine, open.record, 'archive-path');
      yield part;
    }
  } catch (error) {
    open.signal.throwIfAborted();
    throw error;
  }
}

/** Unpacks a tar into a folder of a container. */
export async function writeFiles(
  engine: CopyEngine,
  { container, path, noOverwriteDirNonDir, copyUidGid }: CopyInto,
  chunks: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): Promise<void> {
  using open = await openTree(engine, container, signal);
  const { config, made } = open.record;
  const user = config.user || made!.image.user;
  const owner = copyUidGid && user !== '' ? await findUser(engine, open.record, user, []) : undefined;
  const wish = { path, noOverwriteDirNonDir, owner };
  await orReason(open.signal, engine.trees.write(open.tree, wish, chunks, open.signal));
  announce(engine, open.record, 'extract-to-dir');
}

/** What was cut off says why. */
async function orReason<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  }
}

interface OpenTree extends Disposable {
  readonly record: ContainerRecord;
  readonly tree: ContainerTree;
  readonly signal: AbortSignal;
}

/**
 * How one comes to what a container sees: by its process while it has one, else by mounting what it is made of. In its queue
 * alone, so that neither is about to change; a start and a removal wait for what was begun here.
 */
async function openTree(engine: Engine, reference: string, signal: AbortSignal): Promise<OpenTree> {
  const { repository, queue, archives } = engine;
  const { containerId } = repository.find(reference);
  return queue.run(containerId, async () => {
    signal.throwIfAborted();
    const record = mustGet(engine, containerId);
    if (record.state === 'removing' || record.state === 'dead' || record.made === undefined) throw beingRemoved(record);
    const tree = treeOf(engine, record);
    const open = archives.begin(containerId);
    const both = AbortSignal.any([signal, open.signal]);
    return { record, tree, signal: both, [Symbol.dispose]: () => open[Symbol.dispose]() };
  });
}

function treeOf({ files }: Engine, { containerId, config, made, task }: ContainerRecord): ContainerTree {
  const process = task === undefined ? undefined : files.findInit(containerId);
  const mounts = made!.mounts
    .filter(({ type }) => type !== 'MOUNT_TYPE_TMPFS')
    .map(({ hostPath, target, readOnly, volumeSubpath }) => ({
      source: hostPath,
      target,
      readOnly,
      subpath: volumeSubpath,
    }))
    .sort((a, b) => a.target.split('/').length - b.target.split('/').length);
  return { key: containerId, process, mounts, readOnly: config.readOnlyRoot };
}

function announce({ repository, now }: Engine, record: ContainerRecord, action: string): void {
  repository.save({ events: [containerEvent(record, action, now())] });
}

function beingRemoved({ containerId, name, state }: ContainerRecord): FlotillaError {
  return new FlotillaError('failed_precondition', `container ${name} is being removed, or is only half made`, {
    reason: 'CONTAINER_REMOVING',
    metadata: { containerId, state },
  });
}
