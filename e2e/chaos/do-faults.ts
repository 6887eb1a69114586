import { setTimeout as sleep } from 'node:timers/promises';
import type { Engine } from '../harness/engine.ts';
import { type Fault, isOfDisk, type Victim } from './faults.ts';
import type { SmallDisk } from './small-disk.ts';
import { isAlive, pidOf, signal } from './victims.ts';

export interface Target {
  readonly engine: Engine;
  /** Where the engine's data is; undefined when it is on the host's own disk, which is left alone. */
  readonly disk: SmallDisk | undefined;
}

/** Does them all, and answers how often each happened. Whoever was stopped goes on before this ends, and disks work. */
export async function doFaults(target: Target, faults: readonly Fault[]): Promise<ReadonlyMap<string, number>> {
  const done = new Map<string, number>();
  const count = (what: string) => done.set(what, (done.get(what) ?? 0) + 1);
  const ends: Promise<void>[] = [];
  const beganAt = performance.now();
  for (const fault of faults) {
    await sleep(Math.max(0, beganAt + fault.atMs - performance.now()));
    const { kind, lastsMs } = fault;
    if (isOfDisk(kind)) {
      if (!target.disk?.begin(kind)) continue;
      ends.push(sleep(lastsMs).then(() => target.disk?.end()));
      count(kind);
    } else for (const victim of fault.victims) strike(target.engine, victim, fault, ends, count);
  }
  await Promise.all(ends);
  return done;
}

function strike(
  engine: Engine,
  victim: Victim,
  { kind, which, lastsMs }: Fault,
  ends: Promise<void>[],
  count: (what: string) => void,
): void {
  const name = kind === 'stop' ? 'SIGSTOP' : 'SIGKILL';
  if (name === 'SIGKILL' && isSpared(engine, victim)) return void count(`spared ${victim}`);
  const pid = pidOf(engine, victim, which);
  if (pid === undefined || !signal(pid, name)) return;
  if (kind === 'stop') ends.push(sleep(lastsMs).then(() => void signal(pid, 'SIGCONT')));
  count(`${name} ${victim}`);
}

/**
 * A terminal has three holders: its shim, the launcher and the keeper. When all three are gone at once the kernel hangs it
 * up, and its container ends: that is no fault to be survived. So keeper and launcher are never away together.
 */
function isSpared(engine: Engine, victim: Victim): boolean {
  const other =
    victim === 'keeper' ? 'launcher' : victim === 'launcher' || victim === 'template' ? 'keeper' : undefined;
  return other !== undefined && !isAlive(engine.pid(other));
}
