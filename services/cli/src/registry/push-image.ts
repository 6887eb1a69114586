import process from 'node:process';
import { type Engine, isLost, retryWhileUnavailable } from '@flotilla/client';
import { FlotillaError } from '@flotilla/errors';
import { parseReference } from '@flotilla/oci';
import type { PushImageRequest } from '@flotilla/proto/flotilla/v1/image';
import { warn } from '../failure.ts';
import { openProgress, type ProgressView } from '../streams/progress.ts';
import { findRegistryAuth } from './registry-auth.ts';

export interface PushOptions {
  readonly quiet: boolean;
  /** Says a line of what happens. */
  readonly say: (line: string) => void;
}

/** What Docker says of a layer at last. */
const lastWords: Readonly<Record<string, string>> = {
  done: 'Pushed',
  exists: 'Layer already exists',
  mounted: 'Mounted from another repository',
};

/**
 * Has the engine send an image, as the user who is logged in; shows how it goes. A push whose engine is restarted in the middle
 * is begun again: what is there by then is not sent again.
 */
export async function pushImage(engine: Engine, text: string, { quiet, say }: PushOptions): Promise<void> {
  const { domain, tag } = parseReference(text, 'image');
  const auth = await findRegistryAuth(domain, process.env, warn);
  using progress = await openProgress(quiet);
  const outcome = await retryWhileUnavailable(() => pushOnce(engine, { reference: text, auth }, progress), {
    onlyLost: true,
  });
  if (outcome instanceof Error) throw outcome;
  progress[Symbol.dispose]();
  if (quiet) return;
  for (const [part, status] of outcome.parts) say(`${part}: ${lastWords[status] ?? status}`);
  say(`${tag}: digest: ${outcome.digest} size: ${outcome.sizeBytes}`);
}

interface Pushed {
  readonly digest: string;
  readonly sizeBytes: bigint;
  /** What became of each layer. */
  readonly parts: ReadonlyMap<string, string>;
}

/** Throws when the engine was lost on the way; what the registry is to blame for is an answer. */
async function pushOnce(engine: Engine, request: PushImageRequest, progress: ProgressView): Promise<Pushed | Error> {
  const parts = new Map<string, string>();
  try {
    for await (const { event, manifestSizeBytes } of engine.images.pushImage(request)) {
      if (event?.$case === 'manifestDigest') return { digest: event.value, sizeBytes: manifestSizeBytes, parts };
      if (event?.$case !== 'progress') continue;
      progress.show(event.value);
      parts.set(event.value.part, event.value.status);
    }
  } catch (error) {
    if (isLost(error)) throw error;
    return error as Error;
  }
  return new FlotillaError('internal', 'the engine ended the push without a digest', { reason: 'PUSH_INCOMPLETE' });
}
