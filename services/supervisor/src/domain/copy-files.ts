import { FlotillaError, hasReason } from '@flotilla/errors';
import { type ContainerRecord, containerEvent } from './container.ts';
import { type Engine, mustGet } from './engine.ts';
import { findUser } from './find-user.ts';
import type { ContainerTree, PathStat, Trees } from './ports.ts';
import { isDiskFull } from './until-stored.ts';

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
  try {
    return await engine.trees.stat(open.tree, path, open.signal);
  } catch (error) {
    throw inCallersWords(error, container, open.signal);
  }
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
    throw inCallersWords(error, container, open.signal);
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
  try {
    await engine.trees.write(open.tree, wish, chunks, open.signal);
  } catch (error) {
    throw inCallersWords(error, container, open.signal);
  }
  announce(engine, open.record, 'extract-to-dir');
}

/** What was cut off says why; a container is called as the caller called it. */
function inCallersWords(error: unknown, container: string, signal: AbortSignal): unknown {
  if (signal.aborted) return signal.reason;
  if (!hasReason(error, 'PATH_NOT_FOUND')) return error;
  const { code, reason, metadata } = error;
  return new FlotillaError(code, `Could not find the file ${metadata.path} in container ${container}`, {
    reason,
    metadata,
  });
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
    const open = archives.begin(containerId);
    // A caller that reads no more leaves a reading where it is: what waits for its end must not wait for him.
    open.signal.addEventListener('abort', () => open[Symbol.dispose](), { once: true });
    return {
      record,
      tree: treeOf(engine, record),
      signal: AbortSignal.any([signal, open.signal]),
      [Symbol.dispose]: () => open[Symbol.dispose](),
    };
  });
}

function treeOf({ files }: Engine, { containerId, config, made, task }: ContainerRecord): ContainerTree {
  const process = task === undefined ? undefined : files.findInit(containerId);
  const mounts = made!.mounts
    .filter(({ type }) => type !== 'MOUNT_TYPE_TMPFS')
    .map(({ hostPath, target, readOnly, volumeSubpath, nonRecursive, readOnlyNonRecursive }) => ({
      source: hostPath,
      target,
      readOnly,
      subpath: volumeSubpath,
      nonRecursive,
      readOnlyNonRecursive,
    }))
    .sort((a, b) => a.target.split('/').length - b.target.split('/').length);
  return { key: containerId, process, mounts, readOnly: config.readOnlyRoot };
}

/** What is copied is no change of the engine's own: on a full disk, of which it may be taken away, it goes without its event. */
function announce({ repository, now, log }: Engine, record: ContainerRecord, action: string): void {
  try {
    repository.save({ events: [containerEvent(record, action, now())] });
  } catch (error) {
    if (!isDiskFull(error)) throw error;
    log.warn({ containerId: record.containerId, action }, 'the disk is full: an event is lost');
  }
}

function beingRemoved({ containerId, name, state }: ContainerRecord): FlotillaError {
  return new FlotillaError('failed_precondition', `container ${name} is being removed, or is only half made`, {
    reason: 'CONTAINER_REMOVING',
    metadata: { containerId, state },
  });
}
