import { existsSync } from 'node:fs';
import type { Engine } from '@flotilla/client';
import { FlotillaError } from '@flotilla/errors';
import { complain, ExitRequest, exitCodes } from './failure.ts';

/** Does work with a connection to the engine. ENGINE_NOT_RUNNING at once when nothing listens there. */
export async function withEngine<T>(work: (engine: Engine) => Promise<T>): Promise<T> {
  // Loaded here: a command line that is wrong is refused without it.
  const { connectEngine, engineAddress } = await import('@flotilla/client');
  const address = engineAddress();
  const path = /^unix:(?:\/\/)?(\/.*)$/.exec(address)?.[1];
  if (path !== undefined && !existsSync(path)) {
    throw new FlotillaError(
      'unavailable',
      `no engine listens at ${address}: start one with 'npm run up', or say where it is with --host or FLOTILLA_RUN`,
      { reason: 'ENGINE_NOT_RUNNING', metadata: { address } },
    );
  }
  using engine = connectEngine(address);
  return await work(engine);
}

/**
 * Does the same to several things, all at once, and prints each one's name as it was given when that worked. Ends with exit code
 * 1 when one of them failed, except in a way that may be.
 */
export async function forEachNamed(
  names: readonly string[],
  work: (name: string) => Promise<unknown>,
  mayBe: (error: unknown) => boolean = () => false,
): Promise<void> {
  const results = await Promise.allSettled(names.map(work));
  let failed = false;
  for (const [index, result] of results.entries()) {
    if (result.status === 'fulfilled') process.stdout.write(`${names[index]}\n`);
    else complain(result.reason);
    failed ||= result.status === 'rejected' && !mayBe(result.reason);
  }
  if (failed) throw new ExitRequest(exitCodes.failed);
}
