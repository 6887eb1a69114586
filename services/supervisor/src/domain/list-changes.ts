import { FlotillaError } from '@flotilla/errors';
import type { Engine } from './engine.ts';
import type { FileChange, SnapshotTrees } from './snapshot-trees.ts';

/** What fits into one message, with room for the rest of it. */
const mostBytes = 15 << 20;
/** Of an entry besides its path. */
const entryBytes = 12;

/** What a container changed in its files, by path. RESOURCE_EXHAUSTED / CHANGES_TOO_MANY. */
export async function listChanges(
  { repository }: Pick<Engine, 'repository'>,
  trees: SnapshotTrees,
  reference: string,
  signal: AbortSignal,
): Promise<FileChange[]> {
  const { containerId, name } = repository.find(reference);
  const found: FileChange[] = [];
  let bytes = 0;
  for await (const changes of trees.changes(containerId, signal)) {
    for (const change of changes) bytes += Buffer.byteLength(change.path) + entryBytes;
    if (bytes > mostBytes) {
      throw new FlotillaError(
        'resource_exhausted',
        `container ${name} has changed more files than one answer can list: export it instead`,
        { reason: 'CHANGES_TOO_MANY', metadata: { containerId } },
      );
    }
    found.push(...changes);
  }
  return found.sort((a, b) => (a.path < b.path ? -1 : 1));
}
