import { serveJobs } from '../threads/serve-jobs.ts';
import { toArchiveError } from './layer-error.ts';
import { type UnpackRequest, type UnpackResult, unpackStream } from './unpack-stream.ts';

/** Tells how many compressed bytes it has read. */
serveJobs<UnpackRequest, UnpackResult, number>(async (request, tell) => {
  try {
    return await unpackStream(request, tell);
  } catch (error) {
    throw toArchiveError(error);
  }
});
