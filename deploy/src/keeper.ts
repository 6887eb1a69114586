import { openSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { type Paths, socketPath } from '@flotilla/config';
import { FlotillaError } from '@flotilla/errors';
import { closeFd, execve, setCloseOnExec } from '@flotilla/linux';
import type { Logger } from '@flotilla/log';
import { FdStore } from './fd-store.ts';
import type { InstanceFiles } from './instance-files.ts';
import { type KeeperState, keepState, passState } from './keeper-state.ts';
import { KeptProcess, type ProcessPlan } from './kept-process.ts';
import { askLauncherPid } from './launcher-state.ts';
import { openListeningSocket, takeListeningSocket } from './listening-socket.ts';
import { configureNats } from './nats.ts';
import { type Notice, NotifyServer } from './notify-server.ts';
import { endProcess, findRecordedProcess } from './process-record.ts';
import { rehearse } from './rehearse.ts';
import { keeperStateForm, loadRelease, type Release, releaseDirOf } from './release.ts';
import { type ServiceName, serviceNames } from './services.ts';
import { type Step, upgrade } from './upgrade.ts';

/** It may have been stopped for a while. */
const wakeMs = 60_000;

export interface KeeperOptions {
  readonly paths: Paths;
  readonly files: InstanceFiles;
  readonly log: Logger;
  /** Its own: what is started anew is of it. */
  readonly release: Release;
  readonly lockFd: number;
  /** Of an earlier image of this process. */
  readonly state: KeeperState | undefined;
  /** Of all its processes. */
  readonly env: NodeJS.ProcessEnv;
}

/** All processes of an instance, and what they share: the socket on which they speak, releases, upgrades. */
export class Keeper {
  readonly release: Release;
  readonly since: bigint = BigInt(Date.now()) * 1_000_000n;
  readonly #options: KeeperOptions;
  readonly #notify: NotifyServer;
  readonly #env: NodeJS.ProcessEnv;
  readonly #sockets = new Map<string, number>();
  #processes: readonly KeptProcess[] = [];

  constructor(options: KeeperOptions) {
    const { files, state, env, release } = options;
    this.#options = options;
    this.release = release;
    this.#notify = new NotifyServer(files.notifySocket, (notice) => this.#hear(notice), state?.notifyFd);
    this.#env = { ...env, NOTIFY_SOCKET: this.#notify.path };
  }

  get processes(): readonly KeptProcess[] {
    return this.#processes;
  }

  /** Opens or takes over the listening sockets, adopts what runs and starts the rest. */
  async start(ownNats: boolean): Promise<void> {
    const kept = ownNats ? [this.#keep(this.#natsPlan())] : [];
    for (const name of serviceNames) kept.push(this.#keep(await this.#servicePlan(name)));
    this.#processes = kept;
    for (const one of kept) one.start();
    if (this.#options.state === undefined) this.#wakeLauncher();
  }

  /** One that an earlier keeper has left looks, once it is asked anything, whose store it is, and stores everything anew. */
  #wakeLauncher(): void {
    const { paths, log } = this.#options;
    askLauncherPid(socketPath(paths, 'launcher'), wakeMs).catch((err: unknown) =>
      log.debug({ err }, 'no launcher yet'),
    );
  }

  /** Those that ask go before those that are asked. */
  async stop(graceMs: number): Promise<void> {
    for (const one of this.#processes.toReversed()) await one.stop(graceMs);
    for (const { store } of this.#processes) store[Symbol.dispose]();
    this.#notify[Symbol.dispose]();
  }

  /** PROCESS_UNKNOWN when it keeps none of that name. */
  get(name: string): KeptProcess {
    const found = this.#processes.find((one) => one.name === name);
    if (found !== undefined) return found;
    const names = this.#processes.map((one) => one.name);
    throw new FlotillaError('not_found', `no process ${name} is kept, but ${names.join(', ')}`, {
      reason: 'PROCESS_UNKNOWN',
      metadata: { name },
    });
  }

  /** upgrade.ts for one of the processes, or for the keeper itself. */
  async upgrade(name: string, target: Release, tell: (step: Step) => void): Promise<void> {
    const noted = (step: Step) => {
      this.#options.log.info({ process: name, releaseDir: target.dir, ...step }, 'upgrade');
      tell(step);
    };
    if (name === 'keeper') return await this.#replaceItself(target, noted);
    const kept = this.get(name);
    await upgrade({ paths: this.#options.paths, kept, target, tell: noted });
  }

  /** execve(2): the process id, the children, the listening sockets and what is stored stay. Comes back if it is refused. */
  async #replaceItself(target: Release, tell: (step: Step) => void): Promise<void> {
    tell({ stage: 'UPGRADE_STAGE_LOADING', message: `keeper of ${target.dir} (${target.version}) loads` });
    const refuse = (why: string) => tell({ stage: 'UPGRADE_STAGE_REFUSED', message: `${why}; the old one goes on` });
    const { keeperMain } = target;
    if (keeperMain === undefined) return refuse('that release cannot go on with the processes of this one');
    const args = [join(target.dir, keeperMain)];
    const logFd = openSync(this.#options.files.logFile('keeper'), 'a', 0o600);
    const illness = await rehearse({ command: target.node, args, env: this.#env, logFd, loadMs: 30_000 });
    closeFd(logFd);
    if (illness !== undefined) return refuse(illness);
    const busy = this.#processes.find((one) => one.isChanging);
    if (busy !== undefined) return refuse(`${busy.name} is being replaced`);
    for (const one of this.#processes) one.beginChange();
    tell({ stage: 'UPGRADE_STAGE_STARTING', message: 'keeper replaces itself', pid: process.pid });
    setTimeout(() => this.#execute(target, args), 50); // time for the caller to hear of it
  }

  #execute(target: Release, args: readonly string[]): void {
    this.#notify.drain();
    const state: KeeperState = {
      form: keeperStateForm,
      lockFd: this.#options.lockFd,
      notifyFd: this.#notify.fd,
      processes: this.#processes.map(({ name, release, store }) => ({
        name,
        socketFd: this.#sockets.get(name),
        releaseDir: release.dir,
        stored: store.all,
      })),
    };
    // Node.js marks them close-on-exec.
    for (const fd of [0, 1, 2]) setCloseOnExec(fd, false);
    const { NOTIFY_SOCKET: _, ...env } = this.#env;
    const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`);
    try {
      execve(target.node, [target.node, ...args], [...variables, passState(state)]);
    } catch (err) {
      keepState(state);
      for (const one of this.#processes) one.endChange();
      this.#options.log.error({ err, releaseDir: target.dir }, 'keeper could not replace itself');
    }
  }

  #hear(notice: Notice): void {
    if (this.#processes.some((one) => one.hear(notice))) return;
    for (const fd of notice.fds) closeFd(fd);
    this.#options.log.debug({ senderPid: notice.pid }, 'notice of a process that is not kept');
  }

  #keep(plan: ProcessPlan): KeptProcess {
    const left = this.#options.state?.processes.find(({ name }) => name === plan.name);
    const release = left === undefined ? this.release : (tryRelease(left.releaseDir) ?? this.release);
    return new KeptProcess(plan, release, this.#options.files, this.#options.log, new FdStore(left?.stored));
  }

  #natsPlan(): ProcessPlan {
    const { paths, files } = this.#options;
    return {
      name: 'nats',
      command: () => ({ command: 'nats-server', args: ['--config', files.natsConfig] }),
      env: this.#env,
      logFd: this.#openLog('nats'),
      prepare: () => configureNats(paths, this.#env.PATH),
    };
  }

  async #servicePlan(name: ServiceName): Promise<ProcessPlan> {
    const socketFd = await this.#socketOf(name);
    this.#sockets.set(name, socketFd);
    const programOf = ({ services }: Release) => services.find((one) => one.name === name);
    return {
      name,
      command: (release) => {
        const program = programOf(release);
        if (program === undefined) throw new Error(`release ${release.dir} has no ${name}`);
        return { command: release.node, args: [...program.nodeFlags, join(release.dir, program.main)] };
      },
      releaseOf: (pid) => {
        const main = programOf(this.release)?.main;
        const dir = main === undefined ? undefined : releaseDirOf(pid, main);
        return dir === undefined ? undefined : tryRelease(dir);
      },
      env: this.#env,
      logFd: this.#openLog(name),
      socketFd,
      drainNotices: () => this.#notify.drain(),
    };
  }

  async #socketOf(name: ServiceName): Promise<number> {
    const { paths, files, state } = this.#options;
    const left = state?.processes.find((one) => one.name === name)?.socketFd;
    if (left !== undefined) return left;
    const path = socketPath(paths, name);
    const running = findRecordedProcess(files, name);
    const taken = running && takeListeningSocket(path, running.pid);
    if (running !== undefined && taken === undefined) await endProcess(running, 5_000);
    return taken ?? openListeningSocket(path);
  }

  #openLog(name: string): number {
    return openSync(this.#options.files.logFile(name), 'a', 0o600);
  }
}

function tryRelease(dir: string): Release | undefined {
  try {
    return loadRelease(dir);
  } catch {
    return undefined; // it has been removed since
  }
}
