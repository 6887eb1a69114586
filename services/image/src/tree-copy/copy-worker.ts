import { closeSync } from 'node:fs';
import { parentPort } from 'node:worker_threads';
import { FlotillaError } from '@flotilla/errors';
import { TarOutput } from '../archive/tar-output.ts';
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

/** What the thread says. Errors cross as plain objects. */
export type CopyMessage =
  | { readonly kind: 'stat'; readonly stat: PathStat }
  | { readonly kind: 'done' }
  | { readonly kind: 'refused'; readonly error: Pick<FlotillaError, 'code' | 'message' | 'reason' | 'metadata'> }
  | { readonly kind: 'failed'; readonly error: unknown; readonly code: string };

const port = parentPort;
if (port === null) throw new Error('copy-worker.ts is a worker thread');
const post = (message: CopyMessage) => port.postMessage(message);

async function run(job: CopyJob): Promise<void> {
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
    post({ kind: 'stat', stat: found.stat });
    if (job.kind === 'read') readPath(found, path.parts.at(-1) ?? '.', new TarOutput(job.output));
  } finally {
    closeSync(tree);
  }
}

port.on('message', (job: CopyJob) => {
  run(job).then(
    () => post({ kind: 'done' }),
    (thrown) => {
      const error = toArchiveError(thrown);
      if (error instanceof FlotillaError) {
        const { code, message, reason, metadata } = error;
        post({ kind: 'refused', error: { code, message, reason, metadata } });
      } else post({ kind: 'failed', error, code: String((error as NodeJS.ErrnoException).code ?? '') });
    },
  );
});
