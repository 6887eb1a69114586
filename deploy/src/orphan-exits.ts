import { readFileSync } from 'node:fs';
import { type ChildExit, type ExitFiles, findProcess } from '@flotilla/linux';

/**
 * Writes down how a zombie ended that has not been reaped, if it was a container's: its shim and the launcher are dead, and
 * the shim that comes asks for it.
 */
export function keepOrphansExit({ pid, ...exit }: ChildExit, instance: string, exits: ExitFiles): void {
  const startTime = findProcess(pid)?.startTime;
  if (startTime !== undefined && isContainers(pid, instance)) exits.write(pid, startTime, exit);
}

/** A zombie is still in its v2 group, though in no v1 group: cgroups(7). On hosts without v2, any may be. */
function isContainers(pid: number, instance: string): boolean {
  const line = readFileSync(`/proc/${pid}/cgroup`, 'utf8')
    .split('\n')
    .find((one) => one.startsWith('0::'));
  return line === undefined || line.includes(`/${instance}/`);
}
