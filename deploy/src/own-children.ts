import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';

const living = new Set<number>();

/** Starts a child that node:child_process reaps: whoever reaps orphans leaves it alone. */
export function spawnOwn(command: string, args: readonly string[], options: SpawnOptions): ChildProcess {
  const child = spawn(command, args, options);
  const { pid } = child;
  if (pid !== undefined) {
    living.add(pid);
    child.once('exit', () => living.delete(pid));
  }
  return child;
}

/** Whether a process is such a child and has not been reaped. */
export function isOwnChild(pid: number): boolean {
  return living.has(pid);
}
