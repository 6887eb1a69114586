import { randomBytes } from 'node:crypto';
import { FlotillaError } from '@flotilla/errors';
import { askShim } from './ask-shim.ts';
import { type ContainerRecord, containerEvent } from './container.ts';
import { type Engine, mustGet } from './engine.ts';
import { type ExecRecord, execAction } from './exec.ts';
import { findUser } from './find-user.ts';
import { checkRunning } from './kill-container.ts';
import { buildExecProcess, type ExecConfig, validateExec } from './spec/exec-process.ts';
import { overlayEnv } from './spec/merge-config.ts';
import { execDie } from './task-exit.ts';
import type { ResolvedUser } from './users.ts';

const mostExecs = 10_000;

/**
 * Records a process to run; a `probe` is a health check. Of very many in a run the oldest that have ended are forgotten.
 * FAILED_PRECONDITION / CONTAINER_NOT_RUNNING, CONTAINER_PAUSED.
 */
export async function createExec(
  engine: Engine,
  reference: string,
  config: ExecConfig,
  { probe } = { probe: false },
): Promise<ExecRecord> {
  const { repository, now } = engine;
  const record = repository.find(reference);
  checkRunning(record);
  checkNotPaused(record);
  validateExec(config);
  const { containerId, run } = record;
  const execs = repository.execsOf(containerId);
  const oldest = execs.length < mostExecs ? undefined : execs.find(({ state }) => state === 'exited');
  if (execs.length >= mostExecs && oldest === undefined) {
    throw new FlotillaError(
      'resource_exhausted',
      `container ${record.name} has ${mostExecs} execs that have not ended`,
      {
        reason: 'TOO_MANY_EXECS',
        metadata: { containerId },
      },
    );
  }
  const exec: ExecRecord = {
    execId: randomBytes(32).toString('hex'),
    containerId,
    run,
    config,
    state: 'created',
    pid: 0,
    exitCode: undefined,
    probe,
  };
  const events = [containerEvent(record, execAction('exec_create', exec), now(), { execID: exec.execId })];
  repository.save({ execs: [exec], forgottenExecs: oldest === undefined ? [] : [oldest.execId], events });
  return exec;
}

/** NOT_FOUND / EXEC_NOT_FOUND. */
export function findExec({ repository }: Engine, execId: string): ExecRecord {
  const exec = repository.getExec(execId);
  if (exec !== undefined) return exec;
  throw new FlotillaError('not_found', `no such exec: ${execId}`, { reason: 'EXEC_NOT_FOUND', metadata: { execId } });
}

/** Starts a recorded exec: FAILED_PRECONDITION / EXEC_ALREADY_STARTED the second time. */
export async function startExec(engine: Engine, execId: string, detach: boolean): Promise<ExecRecord> {
  const { repository, shims, files, now } = engine;
  const exec = findExec(engine, execId);
  const { containerId, config } = exec;
  const record = mustGet(engine, containerId);
  checkRunning(record);
  checkNotPaused(record);
  if (exec.state !== 'created' || exec.run !== record.run) throw alreadyStarted(execId);
  // Taken before the first wait, so that a second call finds it so.
  const taken: ExecRecord = { ...exec, state: 'running' };
  repository.save({
    execs: [taken],
    events: [containerEvent(record, execAction('exec_start', exec), now(), { execID: execId })],
  });
  try {
    const user = config.user === '' ? undefined : await findExecUser(engine, record, config.user);
    const process = buildExecProcess(config, files.readSpec(containerId), user);
    const { stdin, tty, size } = config;
    const processJson = JSON.stringify(process);
    const start = { execId, processJson, detach, stdin, size: tty ? size : undefined, unconfined: config.privileged };
    // A shim that started it and left before it could say so has told the next one; or it has ended by now, and was reported.
    const hasEnded = () => repository.getExec(execId)?.state !== 'running';
    const pid = await askShim(async () => (hasEnded() ? 0 : shims.startExec(containerId, start)));
    const current = repository.getExec(execId);
    if (current?.state !== 'running') return { ...(current ?? taken), pid };
    const running = { ...current, pid };
    repository.save({ execs: [running] });
    return running;
  } catch (error) {
    endExec(engine, execId, startExitCode(error));
    throw error;
  }
}

/** HOME is that user's, unless the image or the container's own config says what it is. */
async function findExecUser(engine: Engine, record: ContainerRecord, text: string): Promise<ResolvedUser> {
  const user = await findUser(engine, { ...record, run: 2 }, text, []);
  const env = overlayEnv(record.made?.image.env ?? [], record.config.env);
  const own = env.find((entry) => entry.startsWith('HOME='));
  return own === undefined ? user : { ...user, home: own.slice('HOME='.length) };
}

function startExitCode(error: unknown): number {
  if (!(error instanceof FlotillaError)) return 126;
  if (error.reason === 'EXEC_LOST') return Number(error.metadata.exitCode ?? 137);
  return error.reason === 'COMMAND_NOT_FOUND' ? 127 : 126;
}

/** A shim tells how an exec ended. Told twice, the second time changes nothing. */
export function reportExecExit(engine: Engine, execId: string, exitCode: number): void {
  endExec(engine, execId, exitCode);
}

/** Records and announces how one ended, once. A health check is forgotten with that. */
export function endExec({ repository, now }: Engine, execId: string, exitCode: number): void {
  const exec = repository.getExec(execId);
  if (exec === undefined || exec.state === 'exited') return;
  const record = repository.get(exec.containerId);
  const events = record === undefined ? [] : [execDie(record, exec, exitCode, now())];
  if (exec.probe) repository.save({ forgottenExecs: [execId], events });
  else repository.save({ execs: [{ ...exec, state: 'exited', exitCode }], events });
}

/** Forgets a health check that does not run. */
export function discardExec({ repository }: Engine, execId: string): void {
  const exec = repository.getExec(execId);
  if (exec !== undefined && exec.state !== 'running') repository.save({ forgottenExecs: [execId] });
}

function checkNotPaused({ state, name, containerId }: ContainerRecord): void {
  if (state !== 'paused' && state !== 'pausing') return;
  throw new FlotillaError('failed_precondition', `container ${name} is paused: unpause it first`, {
    reason: 'CONTAINER_PAUSED',
    metadata: { containerId },
  });
}

function alreadyStarted(execId: string): FlotillaError {
  return new FlotillaError('failed_precondition', `exec ${execId} was started already`, {
    reason: 'EXEC_ALREADY_STARTED',
    metadata: { execId },
  });
}
