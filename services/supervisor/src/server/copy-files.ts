import { FlotillaError, invalidField } from '@flotilla/errors';
import {
  type ReadArchiveRequest,
  ReadArchiveResponse,
  type StatArchiveRequest,
  type WriteArchiveOptions,
  type WriteArchiveRequest,
} from '@flotilla/proto/flotilla/v1/container';
import type { CallContext } from '@flotilla/rpc';
import { type CopyEngine, readFiles, statPath, writeFiles } from '../domain/copy-files.ts';

/** The methods of ContainerService that copy files. */
export function copyMethods(engine: CopyEngine) {
  return {
    statArchive: async (request: StatArchiveRequest, { signal }: CallContext) => ({
      stat: await statPath(engine, request, signal),
    }),
    async *readArchive(request: ReadArchiveRequest, { signal }: CallContext) {
      for await (const part of readFiles(engine, request, signal)) {
        if (part instanceof Uint8Array)
          yield ReadArchiveResponse.create({ chunk: Buffer.from(part.buffer, part.byteOffset, part.length) });
        else yield ReadArchiveResponse.create({ stat: part });
      }
    },
    writeArchive: async (requests: AsyncIterable<WriteArchiveRequest>, { signal }: CallContext) => {
      const { options, chunks } = await readOptions(requests);
      await writeFiles(engine, options, chunks, signal);
      return {};
    },
  };
}

async function readOptions(requests: AsyncIterable<WriteArchiveRequest>) {
  const iterator = requests[Symbol.asyncIterator]();
  const first = await iterator.next();
  if (first.done === true || first.value.part?.$case !== 'options') {
    throw new FlotillaError('invalid_argument', 'the first message must be the options', {
      reason: 'INVALID_FIELD',
      metadata: { field: 'options' },
    });
  }
  async function* chunks(): AsyncGenerator<Uint8Array> {
    for await (const { part } of { [Symbol.asyncIterator]: () => iterator }) {
      if (part?.$case !== 'chunk') throw invalidField('part', 'a chunk, after the first message');
      yield part.value;
    }
  }
  const { container, path, noOverwriteDirNonDir, copyUidGid }: WriteArchiveOptions = first.value.part.value;
  return { options: { container, path, noOverwriteDirNonDir, copyUidGid }, chunks: chunks() };
}
