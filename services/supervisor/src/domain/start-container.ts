import { setTimeout as sleep } from 'node:timers/promises';
import { asDiskFull, FlotillaError, hasReason } from '@flotilla/errors';
import { askShim } from './ask-shim.ts';
import { type ContainerRecord, containerEvent, moveTo, noRestarts } from './container.ts';
import { checkTransition } from './container-state.ts';
import { type Engine, mustGet } from './engine.ts';
import { findUser } from './find-user.ts';
import { startingHealth } from './health/health.ts';
import { healthCheckOf } from './health/health-check.ts';
import { resolveLog } from './log-settings.ts';
import type { Bundle, Launched, Started } from './ports.ts';
import { removeQueued } from './remove-container.ts';
import { startedByPolicy, waitAgain } from './restart-policy.ts';
import { joinNamespace, openSandbox, type Sandbox } from './sandbox.ts';
import { scheduleRestart } from './schedule-restart.ts';
import { buildSpec } from './spec/build-spec.ts';
import { takeDown } from './take-down.ts';
import { isDiskFull, untilStored } from './until-stored.ts';
import { parseLogOptions } from './validation/log-options.ts';
import { ipcMode, pidMode } from './validation/modes.ts';
import { checkPropagation, mountVolumes } from './volume-mounts.ts';
import { whileFlushing } from './while-flushing.ts';

const staleAttempts = 20;
const stalePauseMs = 100;
const startAttempts = 3;
/** A copy of files that is under way may take so long to end. */
const archivesMs = 5_000;

export interface StartResult {
  readonly changed: boolean;
  readonly run: number;
}

/**
 * Starts a container; one that runs is left alone, and so is one that was started since a run that the caller knew. What was
 * done is undone when a step fails.
 */
export async function startContainer(engine: Engine, reference: string, afterRun?: number): Promise<StartResult> {
  const { containerId } = engine.repository.find(reference);
  return engine.queue.run(containerId, async () => {
    const { run, error } = mustGet(engine, containerId);
    if (afterRun !== undefined && run > afterRun && error === '') return { changed: false, run };
    return startQueued(engine, containerId, { by: 'user', alsoAnnounce: [] });
  });
}

export interface StartOrder {
  /** A user's start gives the restart policy a new beginning. */
  readonly by: 'user' | 'policy';
  /** Actions told after `start`. */
  readonly alsoAnnounce: readonly string[];
}

/** In the container's queue. */
export async function startQueued(
  engine: Engine,
  containerId: string,
  { by, alsoAnnounce }: StartOrder,
): Promise<StartResult> {
  const { repository, due } = engine;
  const before = mustGet(engine, containerId);
  if (before.state === 'running') return { changed: false, run: before.run };
  checkTransition(before.state, 'starting', containerId);
  // They hold a mount of the root, of which there must be no second one.
  await engine.archives.end(containerId, archivesMs);
  // A launch that was given up may have been done after all, by a launcher that came back.
  if (engine.files.hasShim(containerId)) engine.leftovers.add(containerId);
  await takeDown(engine, containerId);
  const starting = moveTo(mustGet(engine, containerId), 'starting', {
    run: before.run + 1,
    error: '',
    stop: undefined,
    oomKilled: false,
    oomKills: 0,
    restarts: by === 'user' ? noRestarts : { ...before.restarts, pending: undefined },
  });
  due.clear(containerId);
  repository.removeExecs(containerId);
  repository.save({ container: starting });
  // Power loss forgets which process ran, which does not matter, but never that one was wanted.
  const start = async () => {
    if (by === 'user') await checkLogDaemon(engine, starting);
    return runStart(engine, starting, alsoAnnounce);
  };
  return { changed: true, run: await whileFlushing(engine, start) };
}

/**
 * A user is told that nobody would take the output; without that the container's first write would wait for ever. A policy
 * does not ask: its daemon may be about to come back.
 */
async function checkLogDaemon(engine: Engine, { containerId, config }: ContainerRecord): Promise<void> {
  try {
    engine.files.checkLogDaemon(parseLogOptions(config.log));
  } catch (error) {
    await giveUpStart(engine, containerId, error);
    throw error;
  }
}

/**
 * From the intent to a container that runs; answers the number of its run. Also what a restarted supervisor goes on with. A
 * shim that is killed before init was released takes init with it: nothing has run then, and another run is begun. In the
 * queue.
 */
export async function runStart(
  engine: Engine,
  starting: ContainerRecord,
  alsoAnnounce: readonly string[],
): Promise<number> {
  const { containerId } = starting;
  for (let record = starting, attempt = 1; ; attempt++) {
    try {
      const launched = await launch(engine, record);
      const started = await release(engine, containerId, engine.waiters.announce(containerId, record.run));
      await untilStored(engine, containerId, () => saveRunning(engine, launched, started, alsoAnnounce));
      return record.run;
    } catch (error) {
      if (attempt === startAttempts || !hasNeverRun(error)) {
        await giveUpStart(engine, containerId, error);
        throw error;
      }
      engine.log.warn({ containerId, run: record.run }, 'the shim was lost before the start: begun anew');
      record = await beginAnew(engine, record);
    }
  }
}

/** Lets init go on. Idempotent, so a shim that takes over from one that was killed is asked again. */
export function release({ shims }: Engine, containerId: string, expectedAttachments: number): Promise<Started> {
  return askShim(() => shims.start(containerId, expectedAttachments));
}

/** A start that failed so has run nothing: another run may be begun. */
export function hasNeverRun(error: unknown): boolean {
  return ['SHIM_LOST', 'INIT_LOST', 'TASK_NOT_RUNNING'].some((reason) => hasReason(error, reason));
}

/** Under a new number: what is left of the other run, a record of its end perhaps, is not taken for this one's. */
export async function beginAnew(engine: Engine, record: ContainerRecord): Promise<ContainerRecord> {
  const { containerId, run } = record;
  engine.leftovers.add(containerId);
  await takeDown(engine, containerId).catch((err: unknown) =>
    engine.log.warn({ containerId, err }, 'what is left of a shim that was lost could not be removed'),
  );
  const again = { ...record, run: run + 1 };
  await untilStored(engine, containerId, () => engine.repository.save({ container: again }));
  return again;
}

/** Records that a container runs. */
export function saveRunning(
  engine: Engine,
  starting: ContainerRecord,
  { initPid, startedAtUnixNano }: Started,
  alsoAnnounce: readonly string[],
): void {
  const running = moveTo(starting, 'running', {
    task: { ...starting.task!, initPid },
    startedAtUnixNano,
    health: healthCheckOf(starting.config, starting.made!.image) && startingHealth,
  });
  const events = ['start', ...alsoAnnounce].map((action) => containerEvent(running, action, engine.now()));
  engine.repository.save({ container: running, events });
}

/** Network, files, shim: up to an init that waits. The record returned has the task in it. */
async function launch(engine: Engine, record: ContainerRecord): Promise<ContainerRecord> {
  const { files, facts } = engine;
  const { containerId, config, made, run } = record;
  checkPropagation(engine, record);
  const [sandbox, { rootfsMounts, user }] = await Promise.all([
    openSandbox(engine, record),
    readRoot(engine, record),
    mountVolumes(engine, record),
  ]);
  const { nodes, rules } = files.devices(config.devices, config.privileged);
  const spec = buildSpec({
    config,
    image: made!.image,
    user,
    hostname: sandbox.hostname,
    mounts: made!.mounts.map((mount) => ({ ...mount, source: mount.hostPath })),
    etc: files.etcPaths(sandbox.etcOwnerId),
    network: sandbox.network,
    ipc: joinNamespace(engine, ipcMode(config.ipcMode), 'ipc'),
    pid: joinNamespace(engine, pidMode(config.pidMode), 'pid'),
    cgroupsPath: `/${engine.instance}/${containerId}`,
    devices: nodes,
    deviceRules: rules,
    facts,
  });
  const { shimPid, initPid, warnings } = await launchBundle(engine, {
    containerId,
    run,
    spec,
    etc: sandbox.etc,
    rootfsMounts,
    openStdin: config.openStdin,
    stdinOnce: config.stdinOnce,
    log: resolveLog(record, spec.process?.env ?? []),
    runtime: facts.runtimes.get(config.runtime) ?? 'flotilla',
  });
  if (warnings.length > 0) engine.log.warn({ containerId, warnings }, 'the container was made with warnings');
  return withSandbox({ ...record, task: { initPid, shimPid, netnsPath: netnsPathOf(sandbox) } }, sandbox);
}

/** How its root is mounted, and who it runs as. A snapshot that power loss took was new and empty: it is made again. */
async function readRoot(engine: Engine, record: ContainerRecord) {
  const { containerId, config, made } = record;
  const read = async () => {
    const [rootfsMounts, user] = await Promise.all([
      engine.images.snapshotMounts(containerId),
      findUser(engine, record, config.user || made!.image.user, config.groupAdd),
    ]);
    return { rootfsMounts, user };
  };
  try {
    return await read();
  } catch (error) {
    if (!hasReason(error, 'SNAPSHOT_NOT_FOUND')) throw error;
    engine.log.warn({ containerId }, 'the snapshot is lost: made again');
    await engine.images.prepareSnapshot(containerId, made!.imageId);
    return read();
  }
}

/**
 * Writes the bundle and has a shim made for it. A launch of an earlier run that was given up, and that the launcher did
 * after all when it came back, is taken down first. A shim whose launcher ended in the middle may take its bundle along,
 * so that the next launcher finds none: it is written again.
 */
async function launchBundle({ files, launcher, shims }: Engine, bundle: Bundle): Promise<Launched> {
  const { containerId, run } = bundle;
  for (let attempt = 1; ; attempt++) {
    files.writeBundle(bundle);
    try {
      return await launcher.launch(containerId, run);
    } catch (error) {
      const mayPass = hasReason(error, 'OTHER_RUN_NOT_OVER') || hasReason(error, 'BUNDLE_INVALID');
      if (!mayPass || attempt === staleAttempts) throw error;
    }
    await sleep(stalePauseMs);
    if (files.hasShim(containerId)) await shims.delete(containerId);
  }
}

function netnsPathOf({ attached }: Sandbox): string {
  return attached?.netnsPath ?? '';
}

function withSandbox(record: ContainerRecord, { attached }: Sandbox): ContainerRecord {
  return attached === undefined ? record : { ...record, endpoints: attached.endpoints, ports: attached.ports };
}

/** Back to where it was, with the reason kept; a container that is removed when it exits is removed. */
export async function giveUpStart(engine: Engine, containerId: string, error: unknown): Promise<void> {
  const { repository, leftovers, log } = engine;
  const starting = mustGet(engine, containerId);
  leftovers.add(containerId);
  // A network service that is away would keep the caller waiting twice; what it had done is taken back later.
  const away = hasReason(error, 'SERVICE_UNAVAILABLE') && error.metadata.service === 'network';
  if (!away) {
    await takeDown(engine, containerId).catch((err: unknown) =>
      log.warn({ containerId, err }, 'a failed start could not be undone; tried again later'),
    );
  }
  const failed = moveTo(starting, starting.startedAtUnixNano === 0n ? 'created' : 'exited', {
    task: undefined,
    endpoints: [],
    ports: [],
    endedRun: starting.run,
    exitCode: startExitCode(error),
    error: startErrorText(error),
    restarts:
      startedByPolicy(starting) && mayPass(error) ? waitAgain(starting.restarts, engine.now()) : starting.restarts,
  });
  await untilStored(engine, containerId, () => repository.save({ container: failed }));
  scheduleRestart(engine, containerId);
  if (failed.config.autoRemove && !away) {
    await removeQueued(engine, containerId, true).catch((err: unknown) =>
      log.warn({ containerId, err }, 'a container that did not start could not be removed'),
    );
  }
}

/** A service was away, or the disk full: the policy tries again. Any other failure is the container's own, and is not repeated. */
function mayPass(error: unknown): boolean {
  if (isDiskFull(error)) return true;
  return error instanceof FlotillaError && (error.code === 'unavailable' || error.code === 'deadline_exceeded');
}

/** Docker's: 127 for a command that is not there, 126 for one that cannot be executed, 128 for all else. */
function startExitCode(error: unknown): number {
  if (hasReason(error, 'COMMAND_NOT_FOUND')) return 127;
  return hasReason(error, 'COMMAND_NOT_EXECUTABLE') || hasReason(error, 'WORKING_DIR_INVALID') ? 126 : 128;
}

function startErrorText(error: unknown): string {
  const known = error instanceof FlotillaError ? error : asDiskFull(error);
  return known?.message ?? "the engine failed; the supervisor's log says how";
}
