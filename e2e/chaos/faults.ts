import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Engine, serviceNames } from '../harness/engine.ts';
import { Random } from './random.ts';

/** `kill` is SIGKILL, `stop` is SIGSTOP with SIGCONT up to 1.5 s later, `burst` is SIGKILL to three at once. */
export const faultKinds = ['kill', 'stop', 'burst'] as const;
export type FaultKind = (typeof faultKinds)[number];

/** Shims are a victim as often as any one service: there are many of them. */
export const victims = [...serviceNames, 'shim'] as const;
export type Victim = (typeof victims)[number];

export interface Fault {
  /** After the beginning. */
  readonly atMs: number;
  readonly kind: FaultKind;
  readonly victims: readonly Victim[];
  /** Which shim of those that are there then, 0 to 1; how long a stop lasts. */
  readonly which: number;
  readonly lastsMs: number;
}

export interface FaultPlan {
  readonly seed: number;
  readonly durationMs: number;
  /** Faults per second, on average. */
  readonly rate: number;
  readonly kinds: readonly FaultKind[];
  readonly victims: readonly Victim[];
}

/** What will happen when: decided by the seed alone. */
export function planFaults({ seed, durationMs, rate, kinds, victims: from }: FaultPlan): readonly Fault[] {
  const random = new Random(seed);
  const faults: Fault[] = [];
  for (let atMs = 0; ; ) {
    atMs += (random.next() * 2 * 1_000) / rate;
    if (atMs >= durationMs) return faults;
    const kind = random.pick(kinds);
    const count = kind === 'burst' ? 3 : 1;
    const chosen = Array.from({ length: count }, () => random.pick(from));
    faults.push({ atMs, kind, victims: chosen, which: random.next(), lastsMs: random.integer(50, 1_500) });
  }
}

/** Does it all, and answers how often each happened. Whoever was stopped goes on before this ends. */
export async function doFaults(engine: Engine, faults: readonly Fault[]): Promise<ReadonlyMap<string, number>> {
  const done = new Map<string, number>();
  const stopped: Promise<void>[] = [];
  const beganAt = performance.now();
  for (const { atMs, kind, victims: named, which, lastsMs } of faults) {
    await sleep(Math.max(0, beganAt + atMs - performance.now()));
    for (const victim of named) {
      const pid = pidOf(engine, victim, which);
      if (pid === undefined || !signal(pid, kind === 'stop' ? 'SIGSTOP' : 'SIGKILL')) continue;
      if (kind === 'stop') stopped.push(sleep(lastsMs).then(() => void signal(pid, 'SIGCONT')));
      const what = `${kind === 'stop' ? 'SIGSTOP' : 'SIGKILL'} ${victim}`;
      done.set(what, (done.get(what) ?? 0) + 1);
    }
  }
  await Promise.all(stopped);
  return done;
}

function pidOf(engine: Engine, victim: Victim, which: number): number | undefined {
  if (victim !== 'shim') return engine.pid(victim);
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

/** Only ever to a program of ours: a recorded pid may have become another's. */
function signal(pid: number, name: NodeJS.Signals): boolean {
  try {
    if (!/flotilla|node|nats-server/.test(readFileSync(`/proc/${pid}/cmdline`, 'utf8'))) return false;
    process.kill(pid, name);
    return true;
  } catch {
    return false; // it has gone, and its successor is not there yet
  }
}
