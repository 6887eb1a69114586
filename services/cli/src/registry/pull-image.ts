import process from 'node:process';
import type { Engine } from '@flotilla/client';
import { FlotillaError } from '@flotilla/errors';
import { canonicalReference, familiarReference, parseReference } from '@flotilla/oci';
import type { Image } from '@flotilla/proto/flotilla/v1/image';
import { warn } from '../failure.ts';
import { openProgress } from '../streams/progress.ts';
import { findRegistryAuth } from './registry-auth.ts';

export interface PullOptions {
  /** `linux/arm64`; empty is the engine's. */
  readonly platform: string;
  readonly quiet: boolean;
  /** Says a line of what happens. */
  readonly say: (line: string) => void;
}

/** Has the engine fetch an image, as the user who is logged in; shows how it goes on standard error. */
export async function pullImage(engine: Engine, text: string, { platform, quiet, say }: PullOptions): Promise<Image> {
  const reference = parseReference(text, 'image');
  const auth = await findRegistryAuth(reference.domain, process.env, warn);
  let image: Image | undefined;
  let digestNow = '';
  let fetched = false;
  {
    using progress = await openProgress(quiet);
    for await (const { event, digest } of engine.images.pullImage({ reference: text, platform, auth })) {
      if (event?.$case === 'progress') {
        progress.show(event.value);
        fetched ||= event.value.status !== 'exists';
      }
      if (event?.$case === 'image') [image, digestNow] = [event.value, digest];
    }
  }
  if (image === undefined) {
    throw new FlotillaError('internal', 'the engine ended the pull without an image', { reason: 'PULL_INCOMPLETE' });
  }
  if (!quiet) {
    const name = familiarReference(reference);
    say(`Digest: ${digestNow}`);
    say(fetched ? `Status: Downloaded newer image for ${name}` : `Status: Image is up to date for ${name}`);
  }
  return image;
}

/** `docker.io/library/debian:12`: what `pull` prints last. */
export function wholeName(text: string): string {
  const { tag, ...named } = parseReference(text, 'image');
  return canonicalReference(named.digest === undefined && tag !== undefined ? { ...named, tag } : named);
}
