import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, globSync, readdirSync, readFileSync, rmdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { mustRun, runProgram } from '../harness/run-program.ts';
import { waitFor } from '../harness/wait.ts';

const image = 'bench:latest';

export interface DockerOptions {
  /** Sees the host's loopback, and has no bridge and no firewall rules then. */
  readonly hostNetwork?: boolean;
}

/**
 * A Docker daemon of the benchmark's own: its own folders, and network and mount namespaces of its own, so that its bridge
 * and firewall rules go with it and the host's daemon, if any, is left alone.
 */
export class DockerSubject implements AsyncDisposable {
  readonly #folder: string;
  readonly #flags: readonly string[];
  readonly #hostNetwork: boolean;
  readonly #hadCgroups: boolean = globSync('/sys/fs/cgroup/{*/,}docker').length > 0;
  /** Holds the namespaces while no daemon is there. */
  readonly #holder: ChildProcess;
  #daemon: ChildProcess | undefined;

  private constructor(folder: string, flags: readonly string[], { hostNetwork = false }: DockerOptions) {
    this.#hostNetwork = hostNetwork;
    this.#folder = folder;
    this.#flags = flags;
    const script = 'ip link set lo up && echo ready && exec sleep infinity';
    this.#holder = spawn('unshare', [...this.#namespaces(), 'sh', '-c', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: daemonEnv(),
    });
  }

  /** Starts the daemon and gives it an image of the root; undefined, with the reason on the console, where there is none. */
  static async start(
    folder: string,
    root: string,
    furtherFlags: readonly string[] = [],
    options: DockerOptions = {},
  ): Promise<DockerSubject | undefined> {
    for (const program of ['docker', 'dockerd']) {
      const path = `${process.env.PATH}:/usr/sbin`;
      const found = await runProgram('sh', ['-c', `command -v ${program}`], { env: { PATH: path } });
      if (found.code === 0) continue;
      console.log(`bench: ${program} is not installed: no comparison with Docker`);
      return undefined;
    }
    const at = (name: string) => join(folder, name);
    const flags = [
      '--data-root',
      at('data'),
      '--exec-root',
      at('exec'),
      '--pidfile',
      at('docker.pid'),
      '--host',
      `unix://${at('docker.sock')}`,
    ];
    const bridge = options.hostNetwork ? ['--bridge', 'none', '--iptables=false'] : ['--bip', '172.29.250.1/24'];
    const allFlags = [...flags, ...bridge, '--ip6tables=false', ...furtherFlags];
    const subject = new DockerSubject(folder, allFlags, options);
    try {
      await once(subject.#holder.stdout!, 'data');
      await subject.#startDaemon();
      await mustRun(
        'sh',
        ['-c', 'tar -C "$1" -c . | docker import --change "ENV PATH=/bin" - "$2"', 'sh', root, image],
        {
          env: subject.#env(),
        },
      );
      return subject;
    } catch (error) {
      await subject[Symbol.asyncDispose]();
      console.log(`bench: dockerd does not work here: no comparison with Docker (${(error as Error).message})`);
      return undefined;
    }
  }

  /** Where its HTTP API is. */
  get socketPath(): string {
    return join(this.#folder, 'docker.sock');
  }

  /** The image that it was given. */
  get image(): string {
    return image;
  }

  /** What an upgrade of it is: SIGTERM, and the next one, until that answers. */
  async restart(): Promise<void> {
    await this.#stopDaemon();
    await this.#startDaemon();
  }

  /** Process id of the daemon; its containerd is a child of it. */
  get pid(): number {
    return this.#daemon?.pid ?? Number.NaN;
  }

  #namespaces(): readonly string[] {
    return this.#hostNetwork ? ['--mount'] : ['--net', '--mount'];
  }

  async #startDaemon(): Promise<void> {
    const namespaces = ['--target', String(this.#holder.pid), ...this.#namespaces()];
    this.#daemon = spawn('nsenter', [...namespaces, 'dockerd', ...this.#flags], { stdio: 'ignore', env: daemonEnv() });
    await waitFor('dockerd answers', async () => (await this.#try('info')) && existsSync(this.socketPath), 30_000);
  }

  async #stopDaemon(): Promise<void> {
    if (this.#daemon === undefined || this.#daemon.exitCode !== null || this.#daemon.signalCode !== null) return;
    const ended = once(this.#daemon, 'exit');
    this.#daemon.kill('SIGTERM');
    await ended;
  }

  #env(): NodeJS.ProcessEnv {
    return { ...process.env, DOCKER_HOST: `unix://${this.socketPath}` };
  }

  async #try(...args: string[]): Promise<boolean> {
    return (await runProgram('docker', args, { env: this.#env() })).code === 0;
  }

  #docker(...args: string[]): Promise<string> {
    return mustRun('docker', args, { env: this.#env() });
  }

  /** Any command of its client. */
  run(args: readonly string[], timeoutMs: number): Promise<string> {
    return mustRun('docker', args, { env: this.#env(), timeoutMs });
  }

  /** `docker run --rm … true`, as its users do it. */
  async runToExit(network: string): Promise<void> {
    await this.#docker('run', '--rm', '--network', network, image, 'true');
  }

  async exec(container: string): Promise<void> {
    await this.#docker('exec', container, 'true');
  }

  async start(network: string, command: readonly string[]): Promise<string> {
    return (await this.#docker('run', '--detach', '--network', network, image, ...command)).trim();
  }

  async remove(containers: readonly string[]): Promise<void> {
    await this.#docker('rm', '--force', ...containers);
  }

  /** Process ids of the daemon's shims: one for each container that runs. */
  shimPids(): readonly number[] {
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .filter((pid) => {
        try {
          const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
          return words[0]?.endsWith('containerd-shim-runc-v2') === true && words.join(' ').includes(this.#folder);
        } catch {
          return false; // gone meanwhile
        }
      })
      .map(Number);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // With live-restore they would stay.
    const left = (await runProgram('docker', ['ps', '--all', '--quiet'], { env: this.#env() })).stdout.split('\n');
    await this.#try('rm', '--force', ...left.filter(Boolean));
    await this.#stopDaemon();
    for (const pid of this.shimPids()) killWithChildren(pid); // of containers that it has lost sight of
    this.#holder.kill('SIGKILL');
    rmSync(this.#folder, { recursive: true, force: true });
    if (this.#hadCgroups) return;
    for (const path of globSync('/sys/fs/cgroup/{*/,}docker{/*,}').toSorted().toReversed()) {
      if (existsSync(join(path, 'cgroup.procs'))) rmdirSync(path);
    }
  }
}

function daemonEnv(): NodeJS.ProcessEnv {
  return { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` };
}

function killWithChildren(pid: number): void {
  const children = globSync(`/proc/${pid}/task/*/children`).flatMap((path) => readFileSync(path, 'utf8').split(' '));
  for (const one of [...children.filter(Boolean).map(Number), pid]) {
    try {
      process.kill(one, 'SIGKILL');
    } catch {
      // gone meanwhile
    }
  }
}
