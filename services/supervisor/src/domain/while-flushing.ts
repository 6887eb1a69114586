import type { Engine } from './engine.ts';

/**
 * Does some work while what was saved before it is made to survive power loss; over when both are. The flush takes a
 * millisecond, and what follows from an intent takes longer.
 */
export async function whileFlushing<T>({ repository }: Pick<Engine, 'repository'>, work: () => Promise<T>): Promise<T> {
  const flushed = repository.flush();
  flushed.catch(() => {}); // thrown below, once the work is over
  const result = await work();
  await flushed;
  return result;
}
