import { serviceNames } from '../harness/engine.ts';
import { Random } from './random.ts';

/**
 * `kill` is SIGKILL, `stop` is SIGSTOP with SIGCONT up to 1.5 s later, `burst` is SIGKILL to three at once; `disk-full` leaves
 * no byte free where the engine's data is, `disk-slow` lets 256 KiB a second through, both for up to 3 s.
 */
export const faultKinds = ['kill', 'stop', 'burst', 'disk-full', 'disk-slow'] as const;
export type FaultKind = (typeof faultKinds)[number];

/** Shims are a victim as often as any one service: there are many of them. */
export const victims = [...serviceNames, 'keeper', 'template', 'shim'] as const;
export type Victim = (typeof victims)[number];

export interface Fault {
  /** After the beginning. */
  readonly atMs: number;
  readonly kind: FaultKind;
  /** None of a disk's faults. */
  readonly victims: readonly Victim[];
  /** Which shim of those that are there then, 0 to 1; how long a stop, or the disk's fault, lasts. */
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
    const count = isOfDisk(kind) ? 0 : kind === 'burst' ? 3 : 1;
    const chosen = Array.from({ length: count }, () => random.pick(from));
    const lastsMs = random.integer(50, isOfDisk(kind) ? 3_000 : 1_500);
    faults.push({ atMs, kind, victims: chosen, which: random.next(), lastsMs });
  }
}

export function isOfDisk(kind: FaultKind): kind is 'disk-full' | 'disk-slow' {
  return kind === 'disk-full' || kind === 'disk-slow';
}
