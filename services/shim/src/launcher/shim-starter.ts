import process from 'node:process';
import { closeFd, pipe2, posixSpawn } from '@flotilla/linux';
import { fork, selfTestFork } from '@flotilla/linux/fork';
import type { ShimTask } from './launch.ts';

/** How shims come to be: forked from this process, or, where that does not work, started as ordinary Node.js processes. */
export type ForkMode = 'fork' | 'spawn';

/** A shim that was started; in a fork, the shim itself. */
export type Started =
  | { readonly role: 'launcher'; readonly pid: number; readonly readyFd: number }
  | { readonly role: 'shim'; readonly readyFd: number };

/** Starts shims. */
export interface ShimStarter {
  readonly mode: ForkMode;
  /** Why it is not `fork`; empty if it is. */
  readonly problem: string;
  start(task: ShimTask): Started;
}

/** Forks if that works here and FLOTILLA_FORK does not say `spawn`. */
export async function chooseStarter(shimMain: string, env: NodeJS.ProcessEnv): Promise<ShimStarter> {
  const wanted = env.FLOTILLA_FORK ?? 'fork';
  if (wanted !== 'fork' && wanted !== 'spawn') throw new Error(`FLOTILLA_FORK must be fork or spawn, not ${wanted}`);
  const problem = wanted === 'spawn' ? 'FLOTILLA_FORK=spawn' : await selfTestFork();
  if (problem === undefined) return { mode: 'fork', problem: '', start: startByFork };
  return { mode: 'spawn', problem, start: (task) => startBySpawn(shimMain, task) };
}

function startByFork(): Started {
  const { readFd, writeFd } = pipe2();
  const pid = fork();
  closeFd(pid === 0 ? readFd : writeFd);
  return pid === 0 ? { role: 'shim', readyFd: writeFd } : { role: 'launcher', pid, readyFd: readFd };
}

/** By /proc/self/exe, which is the read-only copy of the binary that this process runs from. */
function startBySpawn(shimMain: string, { containerId, run, shimDir, requestId }: ShimTask): Started {
  const { readFd, writeFd } = pipe2();
  try {
    const pid = posixSpawn({
      path: '/proc/self/exe',
      argv: [process.execPath, shimMain, containerId, String(run), shimDir, requestId],
      env: Object.entries(process.env).map(([name, value]) => `${name}=${value}`),
      fds: [0, 1, 2, writeFd],
      newSession: true,
    });
    return { role: 'launcher', pid, readyFd: readFd };
  } catch (error) {
    closeFd(readFd);
    throw error;
  } finally {
    closeFd(writeFd);
  }
}
