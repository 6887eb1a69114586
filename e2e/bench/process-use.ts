import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { pssBytes } from './memory.ts';

/** What a process uses while nothing is asked of it. */
export interface IdleUse {
  /** Per cent of one processor. */
  readonly cpuPercent: number;
  /** How often it woke up, a second. */
  readonly wakeUps: number;
}

export type Processes = Readonly<Record<string, readonly number[]>>;

/** Watches groups of processes for so long and does nothing meanwhile. */
export async function idleUse(processes: Processes, seconds: number): Promise<Readonly<Record<string, IdleUse>>> {
  const before = counters(processes);
  const startedAt = performance.now();
  await sleep(seconds * 1000);
  const after = counters(processes);
  const passed = (performance.now() - startedAt) / 1000;
  return Object.fromEntries(
    Object.keys(processes).map((name) => {
      const [was, is] = [before[name], after[name]];
      const nanos = (is?.nanos ?? 0) - (was?.nanos ?? 0);
      const switches = (is?.switches ?? 0) - (was?.switches ?? 0);
      return [name, { cpuPercent: nanos / 1e7 / passed, wakeUps: switches / passed }];
    }),
  );
}

/** Memory in MiB and open descriptors of groups of processes. */
export function holdings(processes: Processes): Readonly<Record<string, { pssMib: number; descriptors: number }>> {
  return Object.fromEntries(
    Object.entries(processes).map(([name, pids]) => [
      name,
      {
        pssMib: pids.reduce((sum, pid) => sum + pssBytes(pid), 0) / (1 << 20),
        descriptors: pids.reduce((sum, pid) => sum + readdirSync(`/proc/${pid}/fd`).length, 0),
      },
    ]),
  );
}

function counters(processes: Processes): Record<string, { nanos: number; switches: number }> {
  return Object.fromEntries(
    Object.entries(processes).map(([name, pids]) => {
      let [nanos, switches] = [0, 0];
      for (const pid of pids) {
        for (const task of readdirSync(`/proc/${pid}/task`)) {
          const folder = `/proc/${pid}/task/${task}`;
          nanos += Number(readFileSync(`${folder}/schedstat`, 'utf8').split(' ')[0]);
          const status = readFileSync(`${folder}/status`, 'utf8');
          switches += Number(/^voluntary_ctxt_switches:\s+(\d+)$/m.exec(status)?.[1]);
        }
      }
      return [name, { nanos, switches }];
    }),
  );
}
