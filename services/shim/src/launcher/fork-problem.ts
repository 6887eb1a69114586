import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { selfTestFork } from '@flotilla/linux/fork';

/**
 * Why shims cannot be forked here, or are not to be; `undefined` when they can. A launcher that is started again does not
 * try what an earlier one has tried since the host was booted: that takes longer than all else together on a busy host.
 */
export async function findForkProblem(env: NodeJS.ProcessEnv, run: string): Promise<string | undefined> {
  const wanted = env.FLOTILLA_FORK ?? 'fork';
  if (wanted !== 'fork' && wanted !== 'spawn') throw new Error(`FLOTILLA_FORK must be fork or spawn, not ${wanted}`);
  if (wanted === 'spawn') return 'FLOTILLA_FORK=spawn';
  const path = join(run, 'fork-works');
  const tried = `${readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()} ${process.version}\n`;
  if (readIfThere(path) === tried) return undefined;
  const problem = await selfTestFork();
  if (problem === undefined) writeIfPossible(path, tried);
  return problem;
}

/** Without it the next launcher tries again: no reason for this one not to serve, when a disk is full. */
function writeIfPossible(path: string, text: string): void {
  try {
    writeFileSync(path, text, { mode: 0o600 });
  } catch {
    // As said above.
  }
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
