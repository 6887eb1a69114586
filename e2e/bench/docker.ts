import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { globSync, readdirSync, readFileSync } from 'node:fs';
import process from 'node:process';
import { DockerDaemon, daemonEnv } from '../harness/docker-daemon.ts';
import { mustRun } from '../harness/run-program.ts';

const image = 'bench:latest';

/**
 * A Docker daemon of the benchmark's own: its own folders, and network and mount namespaces of its own, so that its bridge
 * and firewall rules go with it and the host's daemon, if any, is left alone.
 */
export class DockerSubject implements AsyncDisposable {
  readonly #folder: string;
  readonly #daemon: DockerDaemon;
  /** Holds the namespaces while no daemon is there. */
  readonly #holder: ChildProcess;

  private constructor(folder: string, daemon: DockerDaemon, holder: ChildProcess) {
    this.#folder = folder;
    this.#daemon = daemon;
    this.#holder = holder;
  }

  /** Starts the daemon and gives it an image of the root; undefined, with the reason on the console, where there is none. */
  static async start(
    folder: string,
    root: string,
    furtherFlags: readonly string[] = [],
  ): Promise<DockerSubject | undefined> {
    const problem = await DockerDaemon.problem();
    if (problem !== undefined) {
      console.log(`bench: ${problem}: no comparison with Docker`);
      return undefined;
    }
    await using stack = new AsyncDisposableStack();
    try {
      const script = 'ip link set lo up && echo ready && exec sleep infinity';
      const holder = spawn('unshare', ['--net', '--mount', 'sh', '-c', script], {
        stdio: ['ignore', 'pipe', 'inherit'],
        env: daemonEnv(),
      });
      stack.defer(() => void holder.kill('SIGKILL'));
      await once(holder.stdout!, 'data');
      const before = ['nsenter', '--target', String(holder.pid), '--net', '--mount'];
      const flags = ['--bip', '172.29.250.1/24', '--ip6tables=false', ...furtherFlags];
      const daemon = stack.use(await DockerDaemon.start(folder, { flags, before }));
      const importing = 'tar -C "$1" -c . | docker --host "$3" import --change "ENV PATH=/bin" - "$2"';
      await mustRun('sh', ['-c', importing, 'sh', root, image, daemon.host]);
      stack.move();
      return new DockerSubject(folder, daemon, holder);
    } catch (error) {
      console.log(`bench: dockerd does not work here: no comparison with Docker (${(error as Error).message})`);
      return undefined;
    }
  }

  /** Where its HTTP API is. */
  get socketPath(): string {
    return this.#daemon.socketPath;
  }

  /** The image that it was given. */
  get image(): string {
    return image;
  }

  /** What an upgrade of it is: SIGTERM, and the next one, until that answers. */
  async restart(): Promise<void> {
    await this.#daemon.stop();
    await this.#daemon.startAgain();
  }

  #docker(...args: string[]): Promise<string> {
    return this.#daemon.docker(args);
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
    const left = (await this.#daemon.try('ps', '--all', '--quiet')).stdout.split('\n');
    await this.#daemon.try('rm', '--force', ...left.filter(Boolean));
    await this.#daemon.stop();
    for (const pid of this.shimPids()) killWithChildren(pid); // of containers that it has lost sight of
    this.#holder.kill('SIGKILL');
    await this.#daemon[Symbol.asyncDispose]();
  }
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
