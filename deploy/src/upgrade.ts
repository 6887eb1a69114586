import { type Paths, socketPath } from '@flotilla/config';
import type { UpgradeStage } from '@flotilla/proto/flotilla/keeper/v1/keeper';
import { findIllness } from './health.ts';
import type { KeptProcess } from './kept-process.ts';
import { drainLauncher } from './launcher-state.ts';
import { endProcess } from './process-record.ts';
import { rehearse } from './rehearse.ts';
import type { Handover, Release } from './release.ts';
import type { RunningProcess } from './running-process.ts';
import type { ServiceName } from './services.ts';

/** A step of an upgrade. */
export interface Step {
  readonly stage: UpgradeStage;
  readonly message: string;
  readonly pid?: number;
}

export interface UpgradeOptions {
  readonly paths: Paths;
  readonly kept: KeptProcess;
  readonly target: Release;
  readonly tell: (step: Step) => void;
  /** How long code may take to load, the old process to drain, the new one to be healthy. */
  readonly limits?: { readonly loadMs: number; readonly drainMs: number; readonly healthyMs: number };
}

const usualLimits = { loadMs: 30_000, drainMs: 15_000, healthyMs: 30_000 };

/**
 * Puts a process of another release in the place of one that works. All that can fail before the old one is asked to stop
 * is tried before; if the new one is not healthy after that, the old release is started again. The last step says
 * what came of it. Throws UPGRADE_IN_PROGRESS.
 */
export async function upgrade(options: UpgradeOptions): Promise<void> {
  const { kept, target, tell } = options;
  kept.beginChange();
  try {
    tell({ stage: 'UPGRADE_STAGE_LOADING', message: `${kept.name} of ${target.dir} (${target.version}) loads` });
    const handover = handoverOf(kept, target);
    const refused = await prepare(options, handover);
    if (refused !== undefined) {
      await kept.dropCandidate();
      return tell({ stage: 'UPGRADE_STAGE_REFUSED', message: `${refused}; the old one goes on` });
    }
    await swap(options, handover);
  } finally {
    kept.endChange();
  }
}

/** Both releases must know how: a process of an old one holds no lock. */
function handoverOf({ name, release }: KeptProcess, target: Release): Handover {
  const [before, after] = [release, target].map(({ services }) => services.find((one) => one.name === name));
  if (after?.betterHandover === 'standby') return 'standby';
  const [from, to] = [before, after].map((one) => one?.handover ?? 'restart');
  return to === 'rehearse' || from === to ? (to ?? 'restart') : 'restart';
}

/** Loads and tries the new code; why it cannot run, or undefined. A candidate that is ready to take over has been started. */
async function prepare({ kept, target, limits }: UpgradeOptions, handover: Handover): Promise<string | undefined> {
  const { loadMs } = limits ?? usualLimits;
  if (handover === 'restart') return undefined;
  const { command, args } = kept.plan.command(target);
  if (handover === 'rehearse') return rehearse({ command, args, env: kept.plan.env, logFd: kept.plan.logFd, loadMs });
  let candidate: RunningProcess;
  try {
    candidate = await kept.startCandidate(target, handover === 'standby');
  } catch (error) {
    return `it cannot be started: ${(error as Error).message}`;
  }
  const { promise: late, resolve } = Promise.withResolvers<string>();
  const timer = setTimeout(() => resolve(`it did not load within ${loadMs / 1000} s`), loadMs);
  const until = handover === 'share' ? candidate.ready : candidate.loaded;
  try {
    return await Promise.race([
      until.then(() => undefined),
      candidate.exited.then((how) => `it ended: ${candidate.status || JSON.stringify(how)}`),
      late,
    ]);
  } finally {
    clearTimeout(timer);
  }
}

/** The old one ends, the new one takes over, or the old release comes back. */
async function swap(
  { paths, kept, target, tell, limits = usualLimits }: UpgradeOptions,
  handover: Handover,
): Promise<void> {
  const name = kept.name as ServiceName | 'nats';
  const old = kept.current;
  if (old !== undefined && !old.hasEnded) {
    tell({ stage: 'UPGRADE_STAGE_DRAINING', message: `${name} finishes its calls`, pid: old.pid });
    // The launcher has no event loop that a signal could reach in the middle of its work.
    if (name === 'launcher') await drainLauncher(socketPath(paths, name), limits.drainMs);
    await endProcess(old.seen, limits.drainMs);
    await old.exited;
  }
  kept.plan.drainNotices?.();
  tell({ stage: 'UPGRADE_STAGE_STARTING', message: `${name} takes over`, pid: kept.candidate?.pid ?? 0 });
  if (handover === 'standby') await kept.giveTurn();
  const taken = await takeOver(paths, kept, target, limits.healthyMs);
  if (taken.illness === undefined) {
    kept.promoteCandidate();
    return tell({ stage: 'UPGRADE_STAGE_DONE', message: `${name} is healthy`, pid: taken.pid });
  }
  await kept.dropCandidate();
  const failure = `${name} of ${target.dir} did not become healthy: ${taken.illness}`;
  const back = await takeOver(paths, kept, kept.release, limits.healthyMs);
  // Even when it is ill: it is the one that is kept from now on.
  kept.promoteCandidate();
  if (back.illness === undefined) {
    tell({ stage: 'UPGRADE_STAGE_ROLLED_BACK', message: `${failure}; the old release runs again`, pid: back.pid });
  } else {
    tell({ stage: 'UPGRADE_STAGE_FAILED', message: `${failure}; nor did the old release: ${back.illness}` });
  }
}

/** Waits until the candidate, started now unless it was before, is healthy. */
async function takeOver(
  paths: Paths,
  kept: KeptProcess,
  release: Release,
  limitMs: number,
): Promise<{ readonly illness: string | undefined; readonly pid: number }> {
  try {
    const candidate = kept.candidate ?? (await kept.startCandidate(release));
    const illness = await findIllness(paths, kept.name as ServiceName | 'nats', candidate, limitMs);
    return { illness, pid: candidate.pid };
  } catch (error) {
    return { illness: `it cannot be started: ${(error as Error).message}`, pid: 0 };
  }
}
