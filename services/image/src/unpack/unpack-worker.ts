import { parentPort } from 'node:worker_threads';
import { FlotillaError } from '@flotilla/errors';
import { toArchiveError } from './layer-error.ts';
import { type UnpackRequest, type UnpackResult, unpackStream } from './unpack-stream.ts';

/** What the thread says: how far it is, then how it went. Errors cross as plain objects. */
export type UnpackMessage =
  | { readonly kind: 'progress'; readonly compressedBytes: number }
  | { readonly kind: 'done'; readonly result: UnpackResult }
  | {
      readonly kind: 'refused';
      readonly error: Pick<FlotillaError, 'code' | 'message' | 'reason' | 'metadata'>;
    }
  | { readonly kind: 'failed'; readonly error: unknown };

const port = parentPort;
if (port === null) throw new Error('unpack-worker.ts is a worker thread');
const post = (message: UnpackMessage) => port.postMessage(message);

port.on('message', (request: UnpackRequest) => {
  unpackStream(request, (compressedBytes) => post({ kind: 'progress', compressedBytes })).then(
    (result) => post({ kind: 'done', result }),
    (thrown) => {
      const error = toArchiveError(thrown);
      if (error instanceof FlotillaError) {
        const { code, message, reason, metadata } = error;
        post({ kind: 'refused', error: { code, message, reason, metadata } });
      } else post({ kind: 'failed', error });
    },
  );
});
