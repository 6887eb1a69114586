import {
  type ReadArchiveRequest,
  ReadArchiveResponse,
  type StatArchiveRequest,
  type WriteArchiveRequest,
} from '@flotilla/proto/flotilla/v1/container';
import { type CallContext, optionsThenChunks } from '@flotilla/rpc';
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
      const { options, chunks } = await optionsThenChunks(requests);
      await writeFiles(engine, options, chunks, signal);
      return {};
    },
  };
}
