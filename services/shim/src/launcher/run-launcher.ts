import process from 'node:process';
import { exitNow, getpid, setChildSubreaper, setProcessName, umask } from '@flotilla/linux';
import { selfTestFork } from '@flotilla/linux/fork';
import { createLogger, type Logger } from '@flotilla/log';
import { dieWithLauncher } from './die-with-launcher.ts';
import { LauncherLoop } from './launcher-loop.ts';
import { type PassedDescriptors, takePassedDescriptors } from './passed-descriptors.ts';
import { type ForkMode, ForkStarter, type ShimStarter, SpawnStarter } from './shim-starter.ts';
import type { NamedFds } from './shim-task.ts';
import { compactTemplate } from './template.ts';
import { type ShimBirth, TemplateProcess } from './template-process.ts';

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

/** The launcher's whole life; and its template's; and, in each child of that, a shim's. */
export async function runLauncher(options: LauncherOptions): Promise<void> {
  const { loadShim, warmUp, shimMain, binaryProblem } = options;
  umask(0o077);
  setProcessName('flotilla-launch');
  setChildSubreaper(true);
  const log = createLogger({ service: 'launcher', level: process.env.FLOTILLA_LOG ?? 'info' });
  if (binaryProblem !== undefined) log.warn({ problem: binaryProblem }, 'binary is not protected from containers');
  // An upgrade wants to know whether this code can run here, before the launcher that works is asked to stop.
  const isRehearsal = process.env.FLOTILLA_REHEARSE === '1';
  const passed = isRehearsal ? nothingPassed : takePassedDescriptors(process.env);
  const problem = await findForkProblem(process.env);
  if (problem !== undefined) {
    if (isRehearsal) process.exit(0);
    log.warn({ problem }, 'shims are started instead of forked');
    return serve(new SpawnStarter(shimMain, problem), log, passed, options);
  }
  const code = await loadShim();
  await warmUp(log);
  // By the normal way out, which leaves what was compiled for the launcher that comes.
  if (isRehearsal) process.exit(0);
  await compactTemplate(log);
  const template = TemplateProcess.start([passed.listenFd, ...passed.stored.values()]);
  if (!(template instanceof TemplateProcess)) return becomeShim(template, code, log);
  serve(new ForkStarter(template), log, passed, options);
}

/** Why shims cannot be forked here, or are not to be; `undefined` when they can. */
async function findForkProblem(env: NodeJS.ProcessEnv): Promise<string | undefined> {
  const wanted = env.FLOTILLA_FORK ?? 'fork';
  if (wanted !== 'fork' && wanted !== 'spawn') throw new Error(`FLOTILLA_FORK must be fork or spawn, not ${wanted}`);
  return wanted === 'spawn' ? 'FLOTILLA_FORK=spawn' : selfTestFork();
}

function serve(starter: ShimStarter, log: Logger, passed: PassedDescriptors, options: LauncherOptions): void {
  const { shimsDir, exitsDir, launchTimeoutMs = 30_000 } = options;
  try {
    const loop = new LauncherLoop({ starter, log, passed, shimsDir, exitsDir, launchTimeoutMs });
    log.info({ forkMode: starter.mode, templatePid: starter.templatePid }, 'ready');
    loop.run();
  } catch (err) {
    log.fatal({ err }, 'launcher failed');
    exitNow(1);
  }
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
