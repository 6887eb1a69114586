import { archiveTooLarge } from '../unpack/layer-error.ts';
import type { ChangedTree } from './changed-files.ts';
import { type Change, listChanges } from './list-changes.ts';
import { TarOutput } from './tar-output.ts';
import { writeLayer } from './write-layer.ts';
import { writeTree } from './write-tree.ts';

/** What a thread is to do with open folders; descriptors are the process's, and their owner closes them afterwards. */
export type TreeJob =
  | { readonly kind: 'changes'; readonly tree: ChangedTree; readonly mountPoints: readonly string[] }
  | {
      readonly kind: 'layer';
      readonly tree: ChangedTree;
      readonly mountPoints: readonly string[];
      /** An open file. */
      readonly output: number;
      readonly maxBytes: number;
    }
  | {
      readonly kind: 'tree';
      readonly folder: number;
      /** An open file or pipe. */
      readonly output: number;
    };

/** What came of it. */
export interface TreeResult {
  /** Of a layer: digest of the tar. */
  readonly digest: string;
  /** Of the tar. */
  readonly sizeBytes: number;
  /** Of a layer. */
  readonly entries: number;
}

export interface TreeJobContext {
  /** Some changes. */
  readonly onChanges: (changes: readonly Change[]) => void;
  /** Throws when the work is to stop. */
  readonly checkStop: () => void;
}

const batch = 1_000;

/** Does a job in this thread. Blocks. */
export function runTreeJob(job: TreeJob, { onChanges, checkStop }: TreeJobContext): TreeResult {
  switch (job.kind) {
    case 'changes': {
      let changes: Change[] = [];
      let entries = 0;
      for (const change of listChanges(job.tree, job.mountPoints)) {
        changes.push(change);
        entries++;
        if (changes.length < batch) continue;
        checkStop();
        onChanges(changes);
        changes = [];
      }
      if (changes.length > 0) onChanges(changes);
      return { digest: '', sizeBytes: 0, entries };
    }
    case 'layer': {
      const { tree, mountPoints, maxBytes } = job;
      const onWrite = (totalBytes: number) => {
        checkStop();
        if (totalBytes > maxBytes) throw archiveTooLarge('bytes', maxBytes);
      };
      const output = new TarOutput(job.output, { hashed: true, onWrite });
      const entries = writeLayer(tree, mountPoints, output);
      const { digest = '', sizeBytes } = output.end();
      return { digest, sizeBytes, entries };
    }
    case 'tree': {
      const output = new TarOutput(job.output, { onWrite: checkStop });
      writeTree(job.folder, output);
      return { digest: '', sizeBytes: output.end().sizeBytes, entries: 0 };
    }
  }
}
