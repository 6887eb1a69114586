import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Engine } from '../harness/engine.ts';
import type { Victim } from './faults.ts';

/** Process id of a victim, undefined while there is none. `which` chooses among shims, 0 to 1. */
export function pidOf(engine: Engine, victim: Victim, which: number): number | undefined {
  switch (victim) {
    case 'shim':
      return shimOf(engine, which);
    case 'template':
      return templateOf(engine.pid('launcher'));
    default:
      return engine.pid(victim);
  }
}

/** The process that the launcher forks shims from: a child of it that has named itself. */
function templateOf(launcher: number | undefined): number | undefined {
  const children = read(`/proc/${launcher}/task/${launcher}/children`).trim().split(' ');
  return children.map(Number).find((pid) => read(`/proc/${pid}/comm`) === 'flotilla-templ\n');
}

function shimOf(engine: Engine, which: number): number | undefined {
  const folder = join(engine.folders.run, 'shims');
  const pids = readdirSync(folder).flatMap((id) => {
    try {
      return [(JSON.parse(readFileSync(join(folder, id, 'shim.json'), 'utf8')) as { pid: number }).pid];
    } catch {
      return []; // between launch and record, or on its way out
    }
  });
  return pids[Math.floor(which * pids.length)];
}

/** Whether a process is there and is more than a zombie. */
export function isAlive(pid: number | undefined): boolean {
  const stat = pid === undefined ? '' : read(`/proc/${pid}/stat`);
  return stat !== '' && !/^[ZX]/.test(stat.slice(stat.lastIndexOf(')') + 2));
}

/** Only ever to a program of ours: a recorded pid may have become another's. */
export function signal(pid: number, name: NodeJS.Signals): boolean {
  try {
    if (!/flotilla|node|nats-server/.test(readFileSync(`/proc/${pid}/cmdline`, 'utf8'))) return false;
    process.kill(pid, name);
    return true;
  } catch {
    return false; // it has gone, and its successor is not there yet
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
