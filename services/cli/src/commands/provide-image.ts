import process from 'node:process';
import type { Engine } from '@flotilla/client';
import { hasReason, invalidField } from '@flotilla/errors';
import { familiarReference, parseReference } from '@flotilla/oci';
import type { ContainerFlags } from '../flags/container-flags.ts';
import { pullImage } from '../registry/pull-image.ts';

export type PullPolicy = 'missing' | 'always' | 'never';
type PullFlags = Pick<ContainerFlags, 'platform' | 'pull' | 'quiet'>;

/** Reads `--pull`; `missing` is the default. */
export function parsePullPolicy(text: string | undefined): PullPolicy {
  if (text === undefined || text === '') return 'missing';
  if (text === 'missing' || text === 'always' || text === 'never') return text;
  throw invalidField('--pull', 'missing, always or never', text);
}

/** Makes sure, as `--pull` says, that the image is there for the platform, before something is made of it. */
export async function provideImage(engine: Engine, image: string, flags: PullFlags): Promise<void> {
  const policy = parsePullPolicy(flags.pull);
  const { platform = '' } = flags;
  if (policy === 'always' && isReference(image)) return await pull(engine, image, flags);
  // Without a platform any image will do, and whether there is one turns out when the container is made.
  if (platform === '') return;
  try {
    await engine.images.getImage({ image, platform });
  } catch (error) {
    const absent = hasReason(error, 'IMAGE_NOT_FOUND') || hasReason(error, 'PLATFORM_NOT_FOUND');
    if (!absent || policy === 'never' || !isReference(image)) throw error;
    await pullMissing(engine, image, flags);
  }
}

/** Makes something of an image, and fetches the image first when it turns out not to be there. */
export async function withImage<T>(
  engine: Engine,
  image: string,
  flags: PullFlags,
  make: () => Promise<T>,
): Promise<T> {
  await provideImage(engine, image, flags);
  try {
    return await make();
  } catch (error) {
    if (!hasReason(error, 'IMAGE_NOT_FOUND') || parsePullPolicy(flags.pull) === 'never' || !isReference(image))
      throw error;
    await pullMissing(engine, image, flags);
    return await make();
  }
}

async function pullMissing(engine: Engine, image: string, flags: PullFlags): Promise<void> {
  if (flags.quiet !== true) say(`Unable to find image '${familiarReference(parseReference(image))}' locally`);
  await pull(engine, image, flags);
}

/** Standard output is the container's. */
const say = (line: string) => process.stderr.write(`${line}\n`);

async function pull(engine: Engine, image: string, { platform = '', quiet = false }: PullFlags): Promise<void> {
  await pullImage(engine, image, { platform, quiet, say });
}

/** An id names what is here already, and nothing in a registry. */
function isReference(image: string): boolean {
  return !/^(sha256:[0-9a-f]+|[0-9a-f]{64})$/.test(image);
}
