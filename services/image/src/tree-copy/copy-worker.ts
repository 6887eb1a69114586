import { closeSync } from 'node:fs';
import { TarOutput } from '../archive/tar-output.ts';
import { serveJobs } from '../threads/serve-jobs.ts';
import { toArchiveError } from '../unpack/layer-error.ts';
import type { ContainerPath } from './container-path.ts';
import { findPath, type PathStat } from './find-path.ts';
import { openContainerTree, type TreeSource } from './open-tree.ts';
import { readPath } from './read-path.ts';
import { checkDestination, writePath } from './write-path.ts';

/** What a thread is to do. The pipes are its owner's, who closes them. */
export type CopyJob = { readonly source: TreeSource; readonly path: ContainerPath } & (
  | { readonly kind: 'stat' }
  | { readonly kind: 'read'; readonly output: number }
  | {
      readonly kind: 'write';
      readonly input: number;
      readonly noOverwriteDirNonDir: boolean;
      readonly owner: { readonly uid: number; readonly gid: number } | undefined;
    }
);

serveJobs<CopyJob, void, PathStat>(async (job, tell) => {
  try {
    await run(job, tell);
  } catch (error) {
    throw toArchiveError(error);
  }
});

async function run(job: CopyJob, tell: (stat: PathStat) => void): Promise<void> {
  const { source, path } = job;
  const tree = openContainerTree(source, { writable: job.kind === 'write' });
  try {
    if (job.kind === 'write') {
      const { input, noOverwriteDirNonDir, owner } = job;
      checkDestination(tree, path, source.key);
      await writePath(input, { root: tree, destination: path.parts, noOverwriteDirNonDir, owner });
      return;
    }
    using found = findPath(tree, path, source.key);
    tell(found.stat);
    if (job.kind === 'read') readPath(found, path.parts.at(-1) ?? '.', new TarOutput(job.output));
  } finally {
    closeSync(tree);
  }
}
