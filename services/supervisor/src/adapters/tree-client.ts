import {
  TreeCopyServiceService,
  WriteTreeOptions,
  type WriteTreeRequest,
} from '@flotilla/proto/flotilla/image/v1/tree_copy';
import type { PathStat as PathStatMessage } from '@flotilla/proto/flotilla/v1/container';
import { type Client, connect } from '@flotilla/rpc';
import type { ContainerTree, PathStat, Trees, TreeWish } from '../domain/ports.ts';

/** The image service's copying of files: it owns all that a container mounts. */
export class TreeClient implements Trees, Disposable {
  readonly #client: Client<typeof TreeCopyServiceService>;

  constructor(address: string, deadlineMs: number) {
    this.#client = connect(TreeCopyServiceService, { address, name: 'image', deadlineMs });
  }

  async stat(tree: ContainerTree, path: string, signal: AbortSignal): Promise<PathStat> {
    // Another copy of a container that does not run, or a mount over the network, may have to end first.
    const options = { signal, deadlineMs: Number.POSITIVE_INFINITY };
    const { stat } = await this.#client.statTree({ tree: treeToProto(tree), path }, options);
    return required(stat);
  }

  async *read(tree: ContainerTree, path: string, signal: AbortSignal): AsyncGenerator<PathStat | Uint8Array, void> {
    for await (const { stat, chunk } of this.#client.readTree({ tree: treeToProto(tree), path }, { signal })) {
      if (stat !== undefined) yield stat;
      if (chunk.length > 0) yield chunk;
    }
  }

  async write(
    tree: ContainerTree,
    { path, noOverwriteDirNonDir, owner }: TreeWish,
    chunks: AsyncIterable<Uint8Array>,
    signal: AbortSignal,
  ): Promise<void> {
    const options = WriteTreeOptions.fromPartial({ tree: treeToProto(tree), path, noOverwriteDirNonDir, owner });
    await this.#client.writeTree(requests(options, chunks), { signal });
  }

  [Symbol.dispose](): void {
    this.#client[Symbol.dispose]();
  }
}

function treeToProto({ key, process, mounts, readOnly }: ContainerTree) {
  const init = process === undefined ? undefined : { pid: process.pid, startTime: BigInt(process.startTime) };
  return { key, process: init, mounts: [...mounts], readOnly };
}

function required(stat: PathStatMessage | undefined): PathStat {
  if (stat === undefined) throw new Error('the image service answered without a stat');
  return stat;
}

async function* requests(
  options: WriteTreeOptions,
  chunks: AsyncIterable<Uint8Array>,
): AsyncGenerator<WriteTreeRequest> {
  yield { part: { $case: 'options', value: options } };
  for await (const value of chunks) yield { part: { $case: 'chunk', value: Buffer.from(value) } };
}
