import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { lstat, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { FlotillaError, invalidField } from '@flotilla/errors';
import { findProcess, isErrno } from '@flotilla/linux';
import type { Spec } from '@flotilla/oci';
import { type LogSettings, TaskOptions } from '@flotilla/proto/flotilla/launcher/v1/launcher';
import type { TaskLog } from '../domain/log-settings.ts';
import type { Bundle, ExitRecord, Files, InitProcess, TaskTruth } from '../domain/ports.ts';
import { hasLogFile, type LogOptions } from '../domain/validation/log-options.ts';
import { checkPropagation } from './check-propagation.ts';
import { type DeviceSet, type DeviceWish, readAllDevices, readDevices } from './host-devices.ts';
import { isInitAlive, isShimAlive, readShimFile } from './process-identity.ts';
import { watchProcess } from './watch-process.ts';

export interface ContainerFilesOptions {
  /** FLOTILLA_ROOT/containers. */
  readonly stateRoot: string;
  /** FLOTILLA_RUN/shims. */
  readonly shimRoot: string;
  /** Where shims report: `unix:///…/supervisor.sock`. */
  readonly supervisorAddress: string;
  /** pino level of shims. */
  readonly logLevel: string;
  /** `/<instance>`. */
  readonly cgroupParent: string;
  readonly launcherSocket: string;
  /** Of systemd-journald. */
  readonly journalSocket: string;
}

/** The folders of containers: what outlives a run, and the bundle of a run. */
export class ContainerFiles implements Files {
  readonly #options: ContainerFilesOptions;

  /** Makes the two folders, for root's eyes only. */
  constructor(options: ContainerFilesOptions) {
    this.#options = options;
    mkdirSync(options.stateRoot, { recursive: true, mode: 0o700 });
    mkdirSync(options.shimRoot, { recursive: true, mode: 0o700 });
  }

  shimDir(containerId: string): string {
    return join(this.#options.shimRoot, containerId);
  }

  etcPaths(containerId: string) {
    const folder = this.#stateDir(containerId);
    return {
      hostname: join(folder, 'hostname'),
      hosts: join(folder, 'hosts'),
      resolvConf: join(folder, 'resolv.conf'),
    };
  }

  logPath(containerId: string, driver: string): string {
    if (!hasLogFile(driver)) return '';
    return join(this.#stateDir(containerId), driver === 'local' ? 'local.log' : `${containerId}-json.log`);
  }

  hostEtc() {
    return { hosts: readOrEmpty('/etc/hosts'), resolvConf: readOrEmpty('/etc/resolv.conf') };
  }

  checkLogDaemon(log: LogOptions): void {
    const { driver } = log;
    if (driver !== 'syslog' && driver !== 'journald') return;
    const path = daemonSocket(log, this.#options.journalSocket);
    if (isSocket(path)) return;
    throw new FlotillaError('failed_precondition', `log driver ${driver}: no daemon listens at ${path}`, {
      reason: 'LOG_DAEMON_NOT_RUNNING',
      metadata: { driver, path },
    });
  }

  /** Nothing here is flushed: after power loss no run goes on, and a start writes all of it again. */
  writeBundle({ containerId, run, spec, etc, rootfsMounts, log, ...task }: Bundle): void {
    const stateDir = this.#stateDir(containerId);
    const shimDir = this.shimDir(containerId);
    mkdirSync(stateDir, { recursive: true, mode: 0o700 });
    mkdirSync(shimDir, { recursive: true, mode: 0o700 });
    if (etc !== undefined) {
      const paths = this.etcPaths(containerId);
      // Read by every user in the container, whatever the umask.
      for (const name of ['hostname', 'hosts', 'resolvConf'] as const) writeFile(paths[name], etc[name], 0o644);
    }
    const options = TaskOptions.fromPartial({
      containerId,
      run: BigInt(run),
      stateDir,
      rootfsMounts: [...rootfsMounts],
      openStdin: task.openStdin,
      stdinOnce: task.stdinOnce,
      logDriver: log.driver,
      logPath: this.logPath(containerId, log.driver),
      logMaxSizeBytes: BigInt(log.maxSizeBytes),
      logMaxFiles: log.maxFiles,
      supervisorAddress: this.#options.supervisorAddress,
      logLevel: this.#options.logLevel,
      runtime: task.runtime,
      cgroupParent: this.#options.cgroupParent,
      launcherSocket: this.#options.launcherSocket,
      log: logSettings(log, this.#options.journalSocket),
    });
    writeFile(join(shimDir, 'config.json'), JSON.stringify(spec), 0o600);
    writeFile(join(shimDir, 'task.json'), JSON.stringify(TaskOptions.toJSON(options)), 0o600);
  }

  readSpec(containerId: string): Spec {
    return JSON.parse(readFileSync(join(this.shimDir(containerId), 'config.json'), 'utf8')) as Spec;
  }

  async stateSize(containerId: string): Promise<number> {
    const folder = this.#stateDir(containerId);
    // It has none before its first start, and goes with its container; a log that is rotated goes by itself.
    const unlessGone =
      <T>(whenGone: T) =>
      (error: unknown) => {
        if (isErrno(error, 'ENOENT')) return whenGone;
        throw error;
      };
    const names = await readdir(folder).catch(unlessGone([]));
    const sizeOf = async (name: string) => (await lstat(join(folder, name))).size;
    const sizes = await Promise.all(names.map((name) => sizeOf(name).catch(unlessGone(0))));
    return sizes.reduce((sum, size) => sum + size, 0);
  }

  async removeState(containerId: string): Promise<void> {
    const options = { recursive: true, force: true, maxRetries: 3 };
    await Promise.all([rm(this.shimDir(containerId), options), rm(this.#stateDir(containerId), options)]);
  }

  processExists(pid: number): boolean {
    try {
      process.kill(pid, 0);
      return true;
    } catch (error) {
      return isErrno(error, 'EPERM');
    }
  }

  watchProcess(pid: number, onEnd: () => void): Disposable | undefined {
    return watchProcess(pid, onEnd);
  }

  probe(containerId: string, run: number): TaskTruth {
    const file = readShimFile(this.shimDir(containerId));
    const ours = file !== undefined && file.run === String(run) ? file : undefined;
    if (ours !== undefined && isShimAlive(ours)) return { kind: 'alive', shimPid: ours.pid, initPid: ours.initPid };
    const exit = this.findExit(containerId, run);
    if (exit !== undefined) return { kind: 'exited', exit };
    if (ours !== undefined && isInitAlive(ours)) return { kind: 'alive', shimPid: 0, initPid: ours.initPid };
    // It may have been written between the two looks.
    const late = this.findExit(containerId, run);
    return late === undefined ? { kind: 'gone' } : { kind: 'exited', exit: late };
  }

  findInit(containerId: string): InitProcess | undefined {
    const file = readShimFile(this.shimDir(containerId));
    if (file === undefined || !isInitAlive(file)) return undefined;
    const startTime = file.initStartTime ?? findProcess(file.initPid)?.startTime;
    return startTime === undefined ? undefined : { pid: file.initPid, startTime };
  }

  hasShim(containerId: string): boolean {
    return existsSync(join(this.shimDir(containerId), 'shim.json'));
  }

  listShimDirs(): readonly string[] {
    return readdirSync(this.#options.shimRoot);
  }

  listStateDirs(): readonly string[] {
    return readdirSync(this.#options.stateRoot);
  }

  prepareBindSource(path: string, create: boolean, field: string): void {
    try {
      statSync(path);
    } catch (error) {
      if (!isErrno(error, 'ENOENT', 'ENOTDIR')) throw error;
      if (!create || isErrno(error, 'ENOTDIR')) throw invalidField(field, 'a path that exists on the host', path);
      mkdirSync(path, { recursive: true });
      chmodSync(path, 0o755);
    }
  }

  checkPropagation(source: string, propagation: string, field: string): void {
    checkPropagation(source, propagation, field);
  }

  devices(wishes: readonly DeviceWish[], privileged: boolean): DeviceSet {
    const { nodes, rules } = readDevices(wishes);
    if (!privileged) return { nodes, rules };
    const own = new Set(nodes.map(({ path }) => path));
    return { nodes: [...readAllDevices().filter(({ path }) => !own.has(path)), ...nodes], rules };
  }

  /**
   * `exit.json`, written by the shim or by the launcher in its place; undefined when it is of another run, or what power loss
   * has left of one.
   */
  findExit(containerId: string, run: number): ExitRecord | undefined {
    let exit: Omit<ExitRecord, 'run' | 'exitedAtUnixNano'> & {
      readonly run: string;
      readonly exitedAtUnixNano: string;
    };
    try {
      exit = JSON.parse(readFileSync(join(this.#stateDir(containerId), 'exit.json'), 'utf8'));
    } catch (error) {
      if (isErrno(error, 'ENOENT') || error instanceof SyntaxError) return undefined;
      throw error;
    }
    if (exit.run !== String(run)) return undefined;
    const { exitCode, oomKilled, exitedAtUnixNano, drained = false } = exit;
    return { run, exitCode, oomKilled, exitedAtUnixNano: BigInt(exitedAtUnixNano), drained };
  }

  #stateDir(containerId: string): string {
    return join(this.#options.stateRoot, containerId);
  }
}

function writeFile(path: string, content: string, mode: number): void {
  writeFileSync(path, content, { mode });
  // The umask of the process hides everything from others.
  if (mode !== 0o600) chmodSync(path, mode);
}

function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return '';
    throw error;
  }
}

function daemonSocket({ driver, syslog }: LogOptions, journalSocket: string): string {
  return driver === 'journald' ? journalSocket : syslog.address.path;
}

function isSocket(path: string): boolean {
  try {
    return statSync(path).isSocket();
  } catch {
    return false;
  }
}

function logSettings(log: TaskLog, journalSocket: string): Parameters<typeof LogSettings.fromPartial>[0] {
  const { address, facility, format } = log.syslog;
  const { tag, attributes, containerName, imageName } = log;
  return {
    tag,
    attributes,
    containerName,
    imageName,
    nonBlockingBufferBytes: BigInt(log.nonBlockingBufferBytes),
    socketPath: daemonSocket(log, journalSocket),
    socketType: address.type,
    syslogFacility: facility,
    syslogFormat: format,
  };
}
