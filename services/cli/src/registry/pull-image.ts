import process from 'node:process';
import { type Engine, isLost, retryWhileUnavailable } from '@flotilla/client';
import { FlotillaError } from '@flotilla/errors';
import { familiarReference, parseReference } from '@flotilla/oci';
import type { Image, PullImageRequest } from '@flotilla/proto/flotilla/v1/image';
import { warn } from '../failure.ts';
import { openProgress, type ProgressView } from '../streams/progress.ts';
import { findRegistryAuth } from './registry-auth.ts';

export interface PullOptions {
  /** `linux/arm64`; empty is the engine's. */
  readonly platform: string;
  readonly quiet: boolean;
  /** Says a line of what happens. */
  readonly say: (line: string) => void;
}

/**
 * Has the engine fetch an image, as the user who is logged in; shows how it goes on standard error. A pull whose engine is
 * restarted in the middle is begun again: it may be asked twice.
 */
export async function pullImage(engine: Engine, text: string, options: PullOptions): Promise<Image> {
  const { platform, quiet, say } = options;
  const reference = parseReference(text, 'image');
  const auth = await findRegistryAuth(reference.domain, process.env, warn);
  using progress = await openProgress(quiet);
  const outcome = await retryWhileUnavailable(() => pullOnce(engine, { reference: text, platform, auth }, progress), {
    onlyLost: true,
  });
  if (outcome instanceof Error) throw outcome;
  progress[Symbol.dispose]();
  if (!quiet) {
    const name = familiarReference(reference);
    say(`Digest: ${outcome.digest}`);
    say(outcome.fetched ? `Status: Downloaded newer image for ${name}` : `Status: Image is up to date for ${name}`);
  }
  return outcome.image;
}

interface Pulled {
  readonly image: Image;
  readonly digest: string;
  /** Whether there was anything to fetch. */
  readonly fetched: boolean;
}

/** Throws when the engine was lost on the way; what the registry is to blame for is an answer. */
async function pullOnce(engine: Engine, request: PullImageRequest, progress: ProgressView): Promise<Pulled | Error> {
  let fetched = false;
  try {
    for await (const { event, digest } of engine.images.pullImage(request)) {
      if (event?.$case === 'image') return { image: event.value, digest, fetched };
      if (event?.$case !== 'progress') continue;
      progress.show(event.value);
      fetched ||= event.value.status !== 'exists';
    }
  } catch (error) {
    if (isLost(error)) throw error;
    return error as Error;
  }
  return new FlotillaError('internal', 'the engine ended the pull without an image', { reason: 'PULL_INCOMPLETE' });
}
