import { FlotillaError } from '@flotilla/errors';
import type { LinuxResources, Spec } from '@flotilla/oci';
import { openDatabase } from '@flotilla/store';
import type { ContainerEvent, ContainerRecord } from '../domain/container.ts';
import type { Engine } from '../domain/engine.ts';
import { KeyedQueue } from '../domain/keyed-queue.ts';
import { OpenArchives } from '../domain/open-archives.ts';
import { OpenAttachments } from '../domain/open-attachments.ts';
import type { Bundle, ExitRecord, TaskTruth, VolumeMount } from '../domain/ports.ts';
import { restartPending } from '../domain/restart-pending.ts';
import { RestartTimers } from '../domain/restart-timers.ts';
import { reportExit } from '../domain/task-exit.ts';
import { TaskMonitor } from '../domain/task-monitor.ts';
import { TaskWaiters } from '../domain/task-waiters.ts';
import { ContainerStore } from '../store/container-store.ts';
import { migrations } from '../store/migrations.ts';
import { anImage, someFacts } from './builders.ts';

interface FakeTask {
  readonly run: number;
  state: 'created' | 'running' | 'paused' | 'exited';
  exit?: ExitRecord;
  shimLives: boolean;
}

/**
 * The other services, the shims and the disk, in memory: what is made, what is left, and where to fail. It outlives the
 * engine that works with it, as the real ones do, so that a crash is an engine that is thrown away.
 */
export class FakeWorld {
  readonly database = openDatabase(':memory:', { migrations, durable: false });
  readonly events: ContainerEvent[] = [];
  readonly snapshots = new Set<string>();
  readonly volumes = new Map<string, string[]>();
  /** Of containers that run. */
  readonly mountedVolumes = new Map<string, readonly VolumeMount[]>();
  readonly sandboxes = new Set<string>();
  readonly tasks = new Map<string, FakeTask>();
  readonly bundles = new Map<string, Bundle>();
  readonly signals: string[] = [];
  /** The last change of limits, by container. */
  readonly limits = new Map<string, LinuxResources>();
  readonly files = new Map<string, string>();
  image = anImage({ cmd: ['sh'] });
  /** Steps that fail, by name, and with what. */
  readonly failing = new Map<string, Error>();
  /** Steps that wait. */
  readonly held = new Map<string, Promise<void>>();
  /** A signal to init of these ends it. */
  deadly: readonly number[] = [9, 15];
  /** How execs that are followed end. */
  probe: { exitCode: number; output: string; takes: 'no time' | 'for ever' } = {
    exitCode: 0,
    output: '',
    takes: 'no time',
  };
  readonly killedExecs = new Set<string>();
  readonly #waitingForKill = new Map<string, () => void>();
  clock = 1_700_000_000_000_000_000n;

  /** What was announced, in order. */
  actions(): string[] {
    return this.events.map(({ action }) => action);
  }

  /** Throws if the step is to fail. Always waits a turn, as a call would. */
  async step(name: string): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
    await this.held.get(name);
    const failure = this.failing.get(name);
    if (failure !== undefined) throw failure;
  }

  /** An engine over what is stored: a supervisor that has just started. */
  engine(): Engine & { readonly monitor: TaskMonitor } {
    const engine: Engine = {
      instance: 'flotilla',
      facts: someFacts,
      repository: new ContainerStore({
        database: this.database,
        announce: (event) => void this.events.push(event),
        flush: () => this.step('flush'),
        log: this.log,
      }),
      images: this.#images(),
      networks: this.#networks(),
      launcher: this.#launcher(),
      shims: this.#shims(() => engine),
      files: this.#files(),
      queue: new KeyedQueue(),
      waiters: new TaskWaiters(),
      attachments: new OpenAttachments(),
      archives: new OpenArchives(),
      log: this.log,
      leftovers: new Set(),
      strays: new Set(),
      restarting: new Set(),
      due: new RestartTimers((containerId) => restartPending(engine, containerId)),
      now: () => this.clock++,
    };
    return { ...engine, monitor: new TaskMonitor(engine) };
  }

  readonly log = { info: () => {}, warn: () => {}, error: () => {} };

  /** A process ends. With an engine its shim reports; without, the record lies on the disk. */
  async end(containerId: string, exitCode: number, engine?: Engine, oomKilled = false): Promise<void> {
    const task = this.tasks.get(containerId);
    if (task === undefined || task.state === 'exited') return;
    task.state = 'exited';
    task.exit = { run: task.run, exitCode, oomKilled, exitedAtUnixNano: this.clock++, drained: true };
    if (engine !== undefined && task.shimLives) await reportExit(engine, containerId, task.exit);
  }

  #images(): Engine['images'] {
    const { snapshots, volumes } = this;
    return {
      resolve: async (image) => {
        await this.step('resolve');
        if (image !== 'busybox') throw new FlotillaError('not_found', 'no such image', { reason: 'IMAGE_NOT_FOUND' });
        return { imageId: 'sha256:1', config: this.image };
      },
      prepareSnapshot: async (containerId) => {
        snapshots.add(containerId);
        await this.step('prepareSnapshot');
      },
      snapshotMounts: async (containerId) => {
        if (!snapshots.has(containerId)) throw new FlotillaError('not_found', 'none', { reason: 'SNAPSHOT_NOT_FOUND' });
        return [{ type: 'overlay', source: 'overlay', options: [] }];
      },
      removeSnapshot: async (containerId) => {
        await this.step('removeSnapshot');
        snapshots.delete(containerId);
      },
      listSnapshots: async () => [...snapshots],
      usage: async (ids) => new Map(ids.filter((id) => snapshots.has(id)).map((id) => [id, 1000])),
      prepareVolumes: async (containerId, wishes) => {
        const names = wishes.map(({ name }, index) => name || `anonymous-${index}`);
        volumes.set(containerId, names);
        await this.step('prepareVolumes');
        return names.map((name) => ({ name, path: `/volumes/${name}` }));
      },
      releaseVolumes: async (containerId) => void volumes.delete(containerId),
      mountVolumes: async (containerId, mounts) => {
        this.mountedVolumes.set(containerId, mounts);
        await this.step('mountVolumes');
      },
      unmountVolumes: async (containerId) => void this.mountedVolumes.delete(containerId),
      listVolumeMounts: async () => [...this.mountedVolumes.keys()],
      readFile: async ({ path }) => {
        const text = this.files.get(path);
        return text === undefined ? undefined : Buffer.from(text);
      },
    };
  }

  #networks(): Engine['networks'] {
    return {
      check: async () => {
        await this.step('check');
        return [];
      },
      attach: async ({ sandboxId, ports }) => {
        this.sandboxes.add(sandboxId);
        await this.step('attach');
        const none = { nameservers: ['10.0.0.1'], searchDomains: [], dnsOptions: [], hostGateway: '172.30.0.1' };
        return { netnsPath: `/run/netns/${sandboxId}`, endpoints: [], ports, ...none };
      },
      detach: async (sandboxId) => void this.sandboxes.delete(sandboxId),
      listSandboxes: async () => [...this.sandboxes],
    };
  }

  #launcher(): Engine['launcher'] {
    return {
      launch: async (containerId, run) => {
        await this.step('launch');
        if (!this.tasks.has(containerId)) this.tasks.set(containerId, { run, state: 'created', shimLives: true });
        await this.step('launched');
        return { shimPid: 100, initPid: 200, warnings: [] };
      },
      replace: async () => {
        await this.step('replace');
        return { shimPid: 101, replacedPid: 100 };
      },
      forkMode: async () => 'fork',
    };
  }

  #shims(engine: () => Engine): Engine['shims'] {
    const taskOf = (containerId: string) => {
      const task = this.tasks.get(containerId);
      if (task !== undefined) return task;
      throw new FlotillaError('unavailable', 'no shim', { reason: 'SERVICE_UNAVAILABLE' });
    };
    return {
      address: (containerId) => `unix:///shims/${containerId}/shim.sock`,
      start: async (containerId) => {
        await this.step('start');
        const task = taskOf(containerId);
        if (task.state === 'created') task.state = 'running';
        await this.step('started');
        return { initPid: 200, startedAtUnixNano: this.clock++ };
      },
      state: async (containerId) => ({ run: 1, initPid: 200, state: taskOf(containerId).state }),
      kill: async ({ containerId }: ContainerRecord, signal) => {
        await this.step('kill');
        this.signals.push(`${containerId} ${signal}`);
        if (this.deadly.includes(signal)) void this.end(containerId, 128 + signal, engine());
      },
      limit: (containerId, resources) => {
        const failure = this.failing.get('limit');
        if (failure !== undefined) throw failure;
        this.limits.set(containerId, resources);
        return [];
      },
      pause: async (containerId) => {
        await this.step('pause');
        taskOf(containerId).state = 'paused';
      },
      resume: async (containerId) => {
        await this.step('resume');
        const task = taskOf(containerId);
        if (task.state === 'exited')
          throw new FlotillaError('failed_precondition', 'ended', { reason: 'TASK_NOT_RUNNING' });
        if (task.state === 'paused') task.state = 'running';
      },
      startExec: async () => {
        await this.step('startExec');
        return 300;
      },
      followExec: async (_, execId, onOutput, signal) => {
        await this.step('followExec');
        const { exitCode, output, takes } = this.probe;
        onOutput(Buffer.from(output));
        if (takes === 'for ever') await this.#killed(execId, signal);
        return this.killedExecs.has(execId) ? 137 : exitCode;
      },
      killExec: async (_, execId) => {
        await this.step('killExec');
        this.killedExecs.add(execId);
        this.#waitingForKill.get(execId)?.();
      },
      resize: async () => {},
      delete: async (containerId) => {
        await this.step('delete');
        this.tasks.delete(containerId);
        this.bundles.delete(containerId);
      },
    };
  }

  async #killed(execId: string, signal: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#waitingForKill.set(execId, resolve);
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
    await promise;
  }

  #files(): Engine['files'] {
    return {
      etcPaths: () => ({ hostname: '/h', hosts: '/hosts', resolvConf: '/resolv' }),
      logPath: (containerId) => `/logs/${containerId}`,
      hostEtc: () => ({ hosts: '', resolvConf: 'nameserver 192.0.2.1\n' }),
      checkLogDaemon: () => {
        const failure = this.failing.get('log daemon');
        if (failure !== undefined) throw failure;
      },
      writeBundle: (bundle) => void this.bundles.set(bundle.containerId, bundle),
      readSpec: (containerId) => this.bundles.get(containerId)?.spec as Spec,
      removeState: async (containerId) => void this.bundles.delete(containerId),
      // Nobody is told of an end here: each look asks.
      watchProcess: () => undefined,
      processExists: () => [...this.tasks.values()].some(({ shimLives }) => shimLives),
      probe: (containerId, run): TaskTruth => {
        const task = this.tasks.get(containerId);
        if (task === undefined || task.run !== run) return { kind: 'gone' };
        if (task.exit !== undefined) return { kind: 'exited', exit: task.exit };
        return { kind: 'alive', shimPid: task.shimLives ? 100 : 0, initPid: 200 };
      },
      findInit: (containerId) => (this.tasks.has(containerId) ? { pid: 200, startTime: 1 } : undefined),
      findExit: (containerId, run) => {
        const exit = this.tasks.get(containerId)?.exit;
        return exit?.run === run ? exit : undefined;
      },
      hasShim: (containerId) => this.tasks.has(containerId),
      listShimDirs: () => [...new Set([...this.bundles.keys(), ...this.tasks.keys()])],
      listStateDirs: () => [],
      stateSize: async () => 10,
      prepareBindSource: () => {},
      checkPropagation: () => {},
      devices: () => ({ nodes: [], rules: [] }),
    };
  }

  [Symbol.dispose](): void {
    this.database[Symbol.dispose]();
  }
}
