import { once } from 'node:events';
import { posix } from 'node:path';
import process from 'node:process';
import type { Engine } from '@flotilla/client';
import { FlotillaError, hasReason, invalidField } from '@flotilla/errors';
import {
  type PathStat,
  type ReadArchiveResponse,
  WriteArchiveOptions,
  type WriteArchiveRequest,
} from '@flotilla/proto/flotilla/v1/container';
import { Command } from 'commander';
import { type CopyPlace, followed, parseCopyPlace, splitPath } from '../copy/copy-place.ts';
import { absolutePath, checkOutputPath, destinationInfo, sourceInfo } from '../copy/local-info.ts';
import { packLocal } from '../copy/pack-local.ts';
import { type CopyInfo, planCopy, renaming } from '../copy/plan-copy.ts';
import { unpackLocal } from '../copy/unpack-local.ts';
import { withEngine } from '../engine.ts';
import { formatSize } from '../format/human.ts';
import { openArchive } from '../streams/archive-chunks.ts';

interface CopyFlags {
  readonly archive?: boolean;
  readonly followLink?: boolean;
  readonly quiet?: boolean;
}

/** As in Docker: only somebody at a terminal is told how much it was. */
const isUnseen = () => process.stderr.isTTY !== true;

const typeMask = 0o170000;
const [folderType, linkType] = [0o040000, 0o120000];
/** Character and block devices. */
const deviceTypes = [0o020000, 0o060000];

export function cpCommand(): Command {
  return new Command('cp')
    .argument('<source>', 'CONTAINER:PATH, a path here, or - for a tar on standard input')
    .argument('<destination>', 'a path here, CONTAINER:PATH, or - for a tar on standard output')
    .option('-a, --archive', 'what is copied in belongs to the container’s user')
    .option('-L, --follow-link', 'copy what a link in the source leads to')
    .option('-q, --quiet', 'say nothing when it is done')
    .action(async (sourceText: string, destinationText: string, flags: CopyFlags) => {
      const source = parseCopyPlace(sourceText, 'source');
      const destination = parseCopyPlace(destinationText, 'destination');
      if (source.container !== undefined && destination.container !== undefined) {
        throw notPossible('copying between containers is not supported');
      }
      await withEngine(async (engine) => {
        if (source.container !== undefined) await copyOut(engine, source.container, source, destination.path, flags);
        else if (destination.container !== undefined) {
          await copyIn(engine, source.path, destination.container, destination, flags);
        } else throw notPossible('must specify at least one container source');
      });
    });
}

/** From a container, as Docker does it. */
async function copyOut(
  engine: Engine,
  container: string,
  { path }: CopyPlace,
  to: string,
  { followLink = false, quiet = isUnseen() }: CopyFlags,
): Promise<void> {
  if (to === '-' && process.stdout.isTTY === true) throw invalidField('destination', 'no terminal', to);
  const target = to === '-' ? to : absolutePath(to);
  if (to !== '-') checkOutputPath(target);
  const source = followLink ? await followInContainer(engine, container, path) : { path, rebaseName: '' };
  const parts = engine.containers.readArchive({ container, path: source.path })[Symbol.asyncIterator]();
  try {
    const stat = await firstStat(parts);
    let sizeBytes = 0;
    const chunks = piecesOf(parts, (size) => {
      sizeBytes += size;
    });
    if (to === '-') {
      for await (const chunk of chunks) if (!process.stdout.write(chunk)) await once(process.stdout, 'drain');
      return;
    }
    const info = { ...source, exists: true, isFolder: (stat.mode & typeMask) === folderType };
    const { folder, rename } = planCopy(info, destinationInfo(target));
    const { name } = splitPath(source.path);
    const first = source.rebaseName === '' ? (one: string) => one : renaming(name, source.rebaseName);
    await unpackLocal(chunks, { folder, rename: (one) => rename(first(one)) });
    if (!quiet) process.stderr.write(`Successfully copied ${formatSize(BigInt(sizeBytes))} to ${target}\n`);
  } finally {
    await parts.return?.();
  }
}

async function followInContainer(engine: Engine, container: string, path: string) {
  const { stat } = await engine.containers.statArchive({ container, path });
  if (stat === undefined || (stat.mode & typeMask) !== linkType) return { path, rebaseName: '' };
  return followed(path, stat.linkTarget);
}

/** Into a container. */
async function copyIn(
  engine: Engine,
  from: string,
  container: string,
  { path }: CopyPlace,
  { archive = false, followLink = false, quiet = isUnseen() }: CopyFlags,
): Promise<void> {
  const destination = await destinationInContainer(engine, container, path);
  let folder = destination.path;
  let chunks: AsyncIterable<Buffer>;
  if (from === '-') {
    if (!destination.isFolder) throw notPossible(`destination "${container}:${path}" must be a directory`);
    chunks = openArchive('-').chunks;
  } else {
    const source = sourceInfo(absolutePath(from), followLink);
    const plan = planCopy(source, destination);
    folder = plan.folder;
    chunks = packLocal(source, plan.rename);
  }
  const options = WriteArchiveOptions.fromPartial({
    container,
    path: folder,
    noOverwriteDirNonDir: true,
    copyUidGid: archive,
  });
  let sizeBytes = 0;
  const counted = counting(chunks, (size) => {
    sizeBytes += size;
  });
  await engine.containers.writeArchive(requests(options, counted));
  if (quiet) return;
  process.stderr.write(`Successfully copied ${formatSize(BigInt(sizeBytes))} to ${container}:${destination.path}\n`);
}

/** A link is followed. What is not there may come to be, if the folder that it is in is there. */
async function destinationInContainer(engine: Engine, container: string, path: string): Promise<CopyInfo> {
  let [at, stat] = [path, await findStat(engine, container, path)];
  if (stat !== undefined && (stat.mode & typeMask) === linkType) {
    at = stat.linkTarget.startsWith('/') ? stat.linkTarget : posix.join(splitPath(path).folder, stat.linkTarget);
    stat = await findStat(engine, container, at);
  }
  const type = (stat?.mode ?? 0) & typeMask;
  if (deviceTypes.includes(type)) {
    throw notPossible(`destination "${container}:${path}" must be a directory or a regular file: got a device`);
  }
  return { path: at, exists: stat !== undefined, isFolder: type === folderType, rebaseName: '' };
}

async function findStat(engine: Engine, container: string, path: string): Promise<PathStat | undefined> {
  try {
    return (await engine.containers.statArchive({ container, path })).stat;
  } catch (error) {
    if (hasReason(error, 'PATH_NOT_FOUND') || hasReason(error, 'NOT_A_DIRECTORY')) return undefined;
    throw error;
  }
}

async function firstStat(parts: AsyncIterator<ReadArchiveResponse>): Promise<PathStat> {
  const { value, done } = await parts.next();
  if (done === true || value.stat === undefined) throw new Error('the engine answered without a stat');
  return value.stat;
}

async function* piecesOf(
  parts: AsyncIterator<ReadArchiveResponse>,
  onPiece: (sizeBytes: number) => void,
): AsyncGenerator<Uint8Array> {
  for await (const { chunk } of { [Symbol.asyncIterator]: () => parts }) {
    onPiece(chunk.length);
    yield chunk;
  }
}

async function* counting(chunks: AsyncIterable<Buffer>, onPiece: (sizeBytes: number) => void): AsyncGenerator<Buffer> {
  for await (const chunk of chunks) {
    onPiece(chunk.length);
    yield chunk;
  }
}

async function* requests(
  options: WriteArchiveOptions,
  chunks: AsyncIterable<Buffer>,
): AsyncGenerator<WriteArchiveRequest> {
  yield { part: { $case: 'options', value: options } };
  for await (const value of chunks) yield { part: { $case: 'chunk', value } };
}

function notPossible(message: string): FlotillaError {
  return new FlotillaError('invalid_argument', message, { reason: 'COPY_NOT_POSSIBLE' });
}
