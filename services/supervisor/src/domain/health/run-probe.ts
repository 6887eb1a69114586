import { setTimeout as sleep } from 'node:timers/promises';
import { FlotillaError, hasReason } from '@flotilla/errors';
import type { Engine } from '../engine.ts';
import { createExec, discardExec, endExec, startExec } from '../execs.ts';
import { durationText } from './duration-text.ts';
import type { Probe } from './health.ts';
import type { HealthCheck } from './health-check.ts';
import { ProbeOutput } from './probe-output.ts';

/** A process that was killed is gone by then, unless its container is frozen or the kernel holds it. */
const killGraceMs = 5_000;
const retryPauseMs = 1_000;
const mostKillAttempts = 60;
const killedExitCode = 137;

export interface ProbeOptions {
  /** The result is no longer wanted: the process is killed. */
  readonly signal: AbortSignal;
  /** Called once the process runs. */
  readonly onStarted: () => void;
}

/** `undefined`: no result, the shim was replaced meanwhile or the container is not to be checked any more. */
export type ProbeResult = Probe | undefined;

/** Runs one check as an exec of the container. Always ends, the process with it. */
export async function runProbe(
  engine: Engine,
  containerId: string,
  { command, timeoutMs }: HealthCheck,
  { signal, onStarted }: ProbeOptions,
): Promise<ProbeResult> {
  if (!hasShim(engine, containerId)) return undefined;
  const startedAtUnixNano = engine.now();
  const result = (exitCode: number, output: string): Probe => ({
    startedAtUnixNano,
    endedAtUnixNano: engine.now(),
    exitCode,
    output,
  });
  let execId = '';
  try {
    ({ execId } = await createExec(engine, containerId, probeConfig(command), { probe: true }));
    await startExec(engine, execId, false);
  } catch (error) {
    discardExec(engine, execId);
    // Whether it was started before the call broke is not known.
    if (isAway(error)) void killProbe(engine, containerId, execId);
    return isAway(error) || signal.aborted ? undefined : result(-1, textOf(error));
  }
  onStarted();
  const output = new ProbeOutput();
  const outcome = await follow(engine, { containerId, execId, timeoutMs, output, signal });
  switch (outcome) {
    case 'unwanted':
    case 'broken':
      return undefined;
    case 'overdue': {
      const { text } = output;
      const said = text === '' ? '' : `: ${text}`;
      return result(-1, `Health check exceeded timeout (${durationText(timeoutMs)})${said}`);
    }
    default:
      return result(outcome, output.text);
  }
}

/** Without one a check would be announced that cannot be. */
function hasShim({ repository, files }: Engine, containerId: string): boolean {
  const shimPid = repository.get(containerId)?.task?.shimPid ?? 0;
  return shimPid > 0 && files.processExists(shimPid);
}

function probeConfig(command: readonly string[]) {
  return {
    command: [...command],
    env: [],
    user: '',
    workingDir: '',
    tty: false,
    stdin: false,
    privileged: false,
    size: undefined,
    detachKeys: '',
  };
}

interface Followed {
  readonly containerId: string;
  readonly execId: string;
  readonly timeoutMs: number;
  readonly output: ProbeOutput;
  readonly signal: AbortSignal;
}

/** The exit code, or why there is none. */
async function follow(
  engine: Engine,
  { containerId, execId, timeoutMs, output, signal }: Followed,
): Promise<number | 'overdue' | 'unwanted' | 'broken'> {
  const cut = new AbortController();
  const timeout = new AbortController();
  const timer = setTimeout(() => timeout.abort(), timeoutMs);
  const stop = AbortSignal.any([signal, timeout.signal]);
  try {
    const ended = engine.shims.followExec(containerId, execId, (chunk) => output.add(chunk), cut.signal);
    ended.catch(() => {}); // Looked at below.
    const exitCode = await Promise.race([ended, aborted(stop)]);
    if (exitCode !== undefined) {
      endExec(engine, execId, exitCode);
      return exitCode;
    }
    await killProbe(engine, containerId, execId);
    const grace = setTimeout(() => cut.abort(), killGraceMs);
    await ended.then(
      (code) => endExec(engine, execId, code),
      () => {}, // Its exit is still to be reported by the shim.
    );
    clearTimeout(grace);
    return timeout.signal.aborted && !signal.aborted ? 'overdue' : 'unwanted';
  } catch (error) {
    void killProbe(engine, containerId, execId);
    if (!isAway(error)) engine.log.warn({ containerId, execId, err: error }, 'a health check broke off');
    return 'broken';
  } finally {
    clearTimeout(timer);
  }
}

function aborted(signal: AbortSignal): Promise<undefined> {
  const { promise, resolve } = Promise.withResolvers<undefined>();
  if (signal.aborted) resolve(undefined);
  else signal.addEventListener('abort', () => resolve(undefined), { once: true });
  return promise;
}

/**
 * Kills a check's process with its group, again while the shim is away. A shim that never heard of it says so: then it
 * never ran. How one that runs ends is reported by the shim.
 */
export async function killProbe(engine: Engine, containerId: string, execId: string): Promise<void> {
  for (let attempt = 0; attempt < mostKillAttempts; attempt++) {
    try {
      await engine.shims.killExec(containerId, execId, 9);
      return;
    } catch (error) {
      if (hasReason(error, 'EXEC_NOT_FOUND')) endExec(engine, execId, killedExitCode);
      if (hasReason(error, 'TASK_NOT_RUNNING') || !isAway(error)) return;
    }
    await sleep(retryPauseMs, undefined, { ref: false });
    if (engine.repository.get(containerId)?.task === undefined) return;
  }
}

/** The shim does not answer, or has left: it is being replaced, or its container has ended. */
function isAway(error: unknown): boolean {
  if (!(error instanceof FlotillaError)) return false;
  return error.code === 'unavailable' || error.code === 'cancelled' || error.reason === 'TASK_NOT_RUNNING';
}

function textOf(error: unknown): string {
  return error instanceof FlotillaError ? error.message : "the engine failed; the supervisor's log says how";
}
