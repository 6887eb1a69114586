import { invalidField } from '@flotilla/errors';
import {
  type ContainerTree as ContainerTreeMessage,
  ReadTreeResponse,
  TreeCopyServiceService,
} from '@flotilla/proto/flotilla/image/v1/tree_copy';
import { type Implementation, implement, optionsThenChunks } from '@flotilla/rpc';
import { parseContainerPath } from '../tree-copy/container-path.ts';
import type { PathStat } from '../tree-copy/find-path.ts';
import type { ContainerTree, TreeCopier } from '../tree-copy/tree-copier.ts';

/** flotilla.image.v1.TreeCopyService: what the supervisor asks for. */
export function treeCopyService(copier: TreeCopier): Implementation {
  return implement(TreeCopyServiceService, {
    statTree: async ({ tree, path }, { signal }) => {
      const stat = await copier.stat(readTree(tree), parseContainerPath(path), signal);
      return { stat: statToProto(stat) };
    },
    async *readTree({ tree, path }, { signal }) {
      for await (const part of copier.read(readTree(tree), parseContainerPath(path), signal)) {
        if (part instanceof Uint8Array) yield ReadTreeResponse.create({ chunk: part });
        else yield ReadTreeResponse.create({ stat: statToProto(part) });
      }
    },
    writeTree: async (requests, { signal }) => {
      const { options, chunks } = await optionsThenChunks(requests);
      const { tree, path, noOverwriteDirNonDir, owner } = options;
      await copier.write(readTree(tree), parseContainerPath(path), chunks, { noOverwriteDirNonDir, owner, signal });
      return {};
    },
  });
}

function statToProto({ name, sizeBytes, mode, modifiedUnixNano, linkTarget }: PathStat) {
  return { name, sizeBytes: BigInt(sizeBytes), mode, modifiedUnixNano, linkTarget };
}

function readTree(tree: ContainerTreeMessage | undefined): ContainerTree {
  if (tree === undefined) throw invalidField('tree', 'given');
  const { key, process, mounts, readOnly } = tree;
  for (const { target, subpath } of mounts) {
    if (!target.startsWith('/')) throw invalidField('tree.mounts.target', 'an absolute path', target);
    if (subpath.startsWith('/') || subpath.split('/').includes('..')) {
      throw invalidField('tree.mounts.subpath', 'a relative path without `..`', subpath);
    }
  }
  const init = process === undefined ? undefined : { pid: process.pid, startTime: Number(process.startTime) };
  return { key, process: init, mounts, readOnly };
}
