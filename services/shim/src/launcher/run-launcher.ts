import { existsSync, readdirSync } from 'node:fs';
import { dirname } from 'node:path';
import process from 'node:process';
import { closeFd, exitNow, getpid, setChildSubreaper, setProcessName, umask } from '@flotilla/linux';
import { createLogger, type Logger } from '@flotilla/log';
import { dieWithLauncher } from './die-with-launcher.ts';
import { findForkProblem } from './fork-problem.ts';
import { LauncherLoop } from './launcher-loop.ts';
import { makeTemplates } from './make-templates.ts';
import { type PassedDescriptors, takePassedDescriptors } from './passed-descriptors.ts';
import { type ForkMode, ForkStarter, type ShimStarter, SpawnStarter } from './shim-starter.ts';
import type { NamedFds } from './shim-task.ts';
import { awaitTurn, tellLoaded } from './standby.ts';
import type { ShimBirth } from './template-process.ts';
import { Templates } from './templates.ts';

/** What a shim is told. */
export interface RunShimOptions {
  readonly shimDir: string;
  readonly containerId: string;
  /** Number of the run. */
  readonly run: bigint;
  readonly requestId: string;
  /** Takes one LauncherReply behind its length, once the container is made or has failed; then to be closed. */
  readonly readyFd: number;
  readonly forkMode: ForkMode;
  /** The container is there, and has lost its shim, or is to have another. */
  readonly adopt: boolean;
  /** Process id of the shim that lives and is to be replaced; 0: none. */
  readonly replaces: number;
  /** What was kept of the shim before, by name (LaunchReply.kept_descriptors), and `init`, a pidfd. */
  readonly fds: NamedFds;
}

/** The code of a shim. */
export interface ShimCode {
  /**
   * In a forked child. Gives the process a loop of its own before anything asynchronous, resolves when the shim serves, and
   * ends the process when its work is done.
   */
  runShim(options: RunShimOptions): Promise<void>;
}

export interface LauncherOptions {
  /** Loads the shim's code; only where shims are forked. */
  readonly loadShim: () => Promise<ShimCode>;
  /** Does in the template what every shim will do: what is loaded and compiled then, all of them share. */
  readonly warmUp: (log: Logger) => Promise<void>;
  /** Path of the program that is a shim by itself. */
  readonly shimMain: string;
  /** Why the binary of this process could be written to from a container; `undefined` if it cannot. */
  readonly binaryProblem: string | undefined;
  /** Folder of all shims' folders. */
  readonly shimsDir: string;
  /** Folder of what reapers have seen: ExitFiles. */
  readonly exitsDir: string;
  /** How long a shim may take to make its container; 30 s when absent. */
  readonly launchTimeoutMs?: number;
}

/** Of a rehearsal, which serves nobody. */
const nothingPassed: PassedDescriptors = { listenFd: -1, stored: new Map(), notifyAddress: undefined };

/** The launcher's whole life; and its templates'; and, in each child of those, a shim's. */
export async function runLauncher(options: LauncherOptions): Promise<void> {
  const { loadShim, warmUp, shimMain, shimsDir, binaryProblem } = options;
  umask(0o077);
  setProcessName('flotilla-launch');
  setChildSubreaper(true);
  const log = createLogger({ service: 'launcher', level: process.env.FLOTILLA_LOG ?? 'info' });
  if (binaryProblem !== undefined) log.warn({ problem: binaryProblem }, 'binary is not protected from containers');
  // The one before has ended all of a sudden.
  const wasStartedAgain = process.env.FLOTILLA_STARTED_AGAIN === '1';
  delete process.env.FLOTILLA_STARTED_AGAIN;
  // An upgrade wants to know whether this code can run here, before the launcher that works is asked to stop.
  const isRehearsal = process.env.FLOTILLA_REHEARSE === '1';
  const passed = isRehearsal ? nothingPassed : takePassedDescriptors(process.env);
  const problem = await findForkProblem(process.env, dirname(shimsDir));
  if (problem !== undefined) {
    if (isRehearsal) process.exit(0);
    log.warn({ problem }, 'shims are started instead of forked');
    return serve(new SpawnStarter(shimMain, problem), log, passed, options);
  }
  const code = await loadShim();
  if (isRehearsal) {
    await warmUp(log);
    process.exit(0);
  }
  const isAwaited = passed.standbyFd === undefined && (wasStartedAgain || hasContainers(shimsDir));
  const templates = await makeTemplates({ passed, log, rehearse: () => warmUp(log), isAwaited });
  if (!(templates instanceof Templates)) return becomeShim(templates, code, log);
  serve(new ForkStarter(templates), log, passed, options);
}

function serve(starter: ShimStarter, log: Logger, given: PassedDescriptors, options: LauncherOptions): void {
  const { shimsDir, exitsDir, launchTimeoutMs = 30_000 } = options;
  try {
    const passed = given.standbyFd === undefined ? given : takeTurn(given, given.standbyFd);
    const loop = new LauncherLoop({ starter, log, passed, shimsDir, exitsDir, launchTimeoutMs });
    log.info({ forkMode: starter.mode, templatePid: starter.templatePid }, 'ready');
    loop.run();
  } catch (err) {
    log.fatal({ err }, 'launcher failed');
    exitNow(1);
  }
}

function takeTurn(passed: PassedDescriptors, standbyFd: number): PassedDescriptors {
  tellLoaded(passed.notifyAddress);
  const stored = awaitTurn(standbyFd);
  closeFd(standbyFd);
  return { ...passed, stored };
}

function hasContainers(shimsDir: string): boolean {
  return existsSync(shimsDir) && readdirSync(shimsDir).length > 0;
}

/** From here on this process is a shim, and nothing of the launcher's is left but its memory. */
async function becomeShim(
  { task, launcherPid, ...birth }: ShimBirth,
  { runShim }: ShimCode,
  log: Logger,
): Promise<void> {
  setProcessName('flotilla-shim');
  try {
    using _bond = task.adopt ? dieWithLauncher(launcherPid) : undefined;
    await runShim({ ...task, ...birth, forkMode: 'fork' });
  } catch (err) {
    log.error({ containerId: task.containerId, shimPid: getpid(), err }, 'shim failed');
    exitNow(1);
  }
}
