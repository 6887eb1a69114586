import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { GrpcClient } from './grpc-client.ts';
import { leftovers, namesInstance, readHostState, sweepInstance } from './host-state.ts';
import { type Finished, mustRun, type RunOptions, runProgram } from './run-program.ts';
import { makeTestFolders, type TestFolders } from './test-folders.ts';
import { waitFor } from './wait.ts';

const projectRoot = fileURLToPath(new URL('../..', import.meta.url));
const node = join(projectRoot, 'deploy/bin/node');
const cli = join(projectRoot, 'services/cli/bin/flotilla');

/** The processes of an engine besides its shims, in the order in which their sockets are listed. */
export const serviceNames = ['api', 'image', 'network', 'supervisor', 'launcher', 'nats'] as const;
export type ServiceName = (typeof serviceNames)[number];

/** The image that `up` brings. */
export const demoImage = 'flotilla/demo:latest';

/** An engine of a test's own, known from outside alone: its command-line client, its sockets, its files, its processes. */
export class Engine implements AsyncDisposable {
  readonly folders: TestFolders;
  readonly env: NodeJS.ProcessEnv;
  /** What `up` printed the last time. */
  upOutput = '';
  readonly #before = readHostState();

  readonly #release: string;

  private constructor(folders: TestFolders, env: NodeJS.ProcessEnv, release: string) {
    this.folders = folders;
    this.#release = release;
    this.env = {
      ...process.env,
      FLOTILLA_ROOT: folders.root,
      FLOTILLA_RUN: folders.run,
      NODE_COMPILE_CACHE: join(projectRoot, '.cache/compile'),
      ...env,
    };
  }

  /**
   * Starts one, as `npm run up` does in the folder of a release, and waits until it is healthy. `prepare` may mount something
   * in its folders first.
   */
  static async start(
    env: NodeJS.ProcessEnv = {},
    release: string = projectRoot,
    prepare: (folders: TestFolders) => void = () => {},
  ): Promise<Engine> {
    const folders = makeTestFolders();
    try {
      prepare(folders);
      const engine = new Engine(folders, env, release);
      await engine.up();
      return engine;
    } catch (error) {
      console.error(error); // also when the sweep below fails, too
      sweepInstance(folders.folder, folders.instance);
      throw error;
    }
  }

  /** `npm run up`. */
  async up(): Promise<void> {
    const args = ['deploy/bin/up.ts', '--wait', '150'];
    this.upOutput = await mustRun(node, args, { env: this.env, cwd: this.#release, timeoutMs: 200_000 });
  }

  /** `npm run down`. */
  down(...args: string[]): Promise<string> {
    return mustRun(node, ['deploy/bin/down.ts', ...args], { env: this.env, cwd: projectRoot, timeoutMs: 90_000 });
  }

  /** Runs `flotilla ARGS` to its end. */
  flotilla(args: readonly string[], options: RunOptions = {}): Promise<Finished> {
    return runProgram(cli, args, { ...options, env: { ...this.env, ...options.env } });
  }

  /** Runs `flotilla ARGS`, which must succeed; its standard output without the last newline. */
  async ok(...args: string[]): Promise<string> {
    return (await mustRun(cli, args, { env: this.env })).replace(/\n$/, '');
  }

  /** Asks the engine itself: a client costs a third of a second of a processor, and tests look again and again. */
  async call<T>(service: string, method: string, request: Record<string, unknown> = {}): Promise<T> {
    using grpc = new GrpcClient(join(this.folders.run, 'api.sock'));
    return (await grpc.call(service, method, request)) as T;
  }

  /** How a container is. */
  async status(container: string): Promise<ContainerStatus> {
    const found = await this.call<{ container: { status: StoredStatus } }>('ContainerService', 'GetContainer', {
      container,
    });
    const { state, init_pid, shim_pid, exit_code, oom_killed, restart_count } = found.container.status;
    return {
      state: state.replace('CONTAINER_STATE_', '').toLowerCase(),
      initPid: init_pid,
      shimPid: shim_pid,
      exitCode: exit_code,
      oomKilled: oom_killed,
      restartCount: restart_count,
    };
  }

  /** All containers, the newest first. */
  async containerIds(): Promise<readonly string[]> {
    const found = await this.call<{ containers: readonly { container_id: string }[] }>(
      'ContainerService',
      'ListContainers',
      { all: true },
    );
    return found.containers.map(({ container_id }) => container_id);
  }

  /** The program and arguments that run the client, for those who start it themselves. */
  commandWords(...args: string[]): readonly string[] {
    return [cli, ...args];
  }

  /** The same as a line for a shell. */
  commandLine(...args: string[]): string {
    return this.commandWords(...args)
      .map((word) => `'${word.replaceAll("'", `'\\''`)}'`)
      .join(' ');
  }

  /** Process id of a service, undefined while none is recorded. */
  pid(service: ServiceName | 'keeper'): number | undefined {
    const file = join(this.folders.run, 'pids', `${service}.pid`);
    return existsSync(file) ? Number(readFileSync(file, 'utf8')) : undefined;
  }

  /** Kills services at once, with SIGKILL, and waits until each is back, another process than before, and healthy. */
  async killAndAwait(...services: readonly ServiceName[]): Promise<void> {
    const before = services.map((service) => this.pid(service));
    for (const pid of before) if (pid !== undefined) process.kill(pid, 'SIGKILL');
    for (const [i, service] of services.entries()) {
      await waitFor(`${service} has a new process`, () => {
        const pid = this.pid(service);
        return pid !== undefined && pid !== before[i] && existsSync(`/proc/${pid}`);
      });
    }
    await this.healthy();
  }

  /** Waits until every service is healthy. */
  async healthy(): Promise<void> {
    await waitFor('all services are healthy', async () => {
      const { services } = await this.call<{ services: readonly { healthy: boolean }[] }>(
        'SystemService',
        'ListServices',
      ).catch(() => ({ services: [] }));
      return services.length >= serviceNames.length && services.every(({ healthy }) => healthy);
    });
  }

  /** Where NATS listens. */
  natsUrl(): string {
    return readFileSync(join(this.folders.run, 'nats.url'), 'utf8').trim();
  }

  /** A service's log so far, line by line. */
  log(service: ServiceName | 'keeper'): readonly string[] {
    return readFileSync(join(this.folders.root, 'log', `${service}.log`), 'utf8').split('\n');
  }

  /** Removes all containers, stops all, and fails when anything of it is left on the host. */
  async [Symbol.asyncDispose](): Promise<void> {
    const { folder, instance } = this.folders;
    try {
      const ids = await this.containerIds().catch(() => []);
      if (ids.length > 0) await this.ok('rm', '--force', '--volumes', ...ids);
      await this.down('--containers');
      const left = leftovers(this.#before, readHostState(namesInstance(folder, instance))).filter(
        (text) => !text.startsWith('files: '),
      );
      if (left.length > 0) throw new Error(`left behind:\n${left.join('\n')}`);
    } finally {
      sweepInstance(folder, instance);
    }
  }
}

/** The part of a container's status that tests read. */
export interface ContainerStatus {
  /** `running`, `exited`, … */
  readonly state: string;
  readonly initPid: number;
  readonly shimPid: number;
  readonly exitCode: number;
  readonly oomKilled: boolean;
  readonly restartCount: number;
}

/** The same as the contract has it. */
interface StoredStatus {
  readonly state: string;
  readonly init_pid: number;
  readonly shim_pid: number;
  readonly exit_code: number;
  readonly oom_killed: boolean;
  readonly restart_count: number;
}
