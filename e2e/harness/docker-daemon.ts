import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, globSync, mkdirSync, openSync, readFileSync, rmdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { mustRun, type RunOptions, runProgram } from './run-program.ts';
import { waitFor } from './wait.ts';

export interface DockerDaemonOptions {
  /** Besides those that say where everything is. */
  readonly flags?: readonly string[];
  /** The words of a program before `dockerd`, as `nsenter`'s. */
  readonly before?: readonly string[];
  /** For its client. */
  readonly env?: NodeJS.ProcessEnv;
}

/** For a daemon that only has to move images: nothing of the host's network is touched. */
export const withoutNetwork: readonly string[] = [
  '--bridge=none',
  '--iptables=false',
  '--ip6tables=false',
  '--ip-forward=false',
  '--ip-masq=false',
];

/** A Docker daemon of a test's own, in folders of its own, to compare with. */
export class DockerDaemon implements AsyncDisposable {
  readonly #folder: string;
  readonly #options: DockerDaemonOptions;
  readonly #hadCgroups: boolean = globSync('/sys/fs/cgroup/{*/,}docker').length > 0;
  #process: ChildProcess | undefined;

  private constructor(folder: string, options: DockerDaemonOptions) {
    this.#folder = folder;
    this.#options = options;
  }

  /** Why there cannot be one; undefined where there can. */
  static async problem(): Promise<string | undefined> {
    for (const program of ['docker', 'dockerd']) {
      const found = await runProgram('sh', ['-c', `command -v ${program}`], { env: daemonEnv() });
      if (found.code !== 0) return `${program} is not installed`;
    }
    return undefined;
  }

  /** Starts one and waits until it answers. The folder is its own, and goes with it. */
  static async start(folder: string, options: DockerDaemonOptions = {}): Promise<DockerDaemon> {
    await using stack = new AsyncDisposableStack();
    const daemon = stack.use(new DockerDaemon(folder, options));
    mkdirSync(folder, { recursive: true });
    await daemon.startAgain();
    stack.move();
    return daemon;
  }

  /** Process id of the daemon; its containerd is a child of it. */
  get pid(): number | undefined {
    return this.#process?.pid;
  }

  get host(): string {
    return `unix://${this.socketPath}`;
  }

  get socketPath(): string {
    return join(this.#folder, 'docker.sock');
  }

  /** After `stop`. */
  async startAgain(): Promise<void> {
    const { flags = [], before = [] } = this.#options;
    const at = (name: string) => join(this.#folder, name);
    const places = ['--data-root', at('data'), '--exec-root', at('exec'), '--pidfile', at('pid'), '--host', this.host];
    const [program = '', ...words] = [...before, 'dockerd', ...places, ...flags];
    const log = openSync(at('log'), 'a');
    const child = spawn(program, words, { stdio: ['ignore', log, log], env: daemonEnv() });
    closeSync(log);
    this.#process = child;
    const answers = async () => {
      if (child.exitCode !== null) throw new Error(readFileSync(at('log'), 'utf8'));
      return existsSync(this.socketPath) && (await this.try('info')).code === 0;
    };
    await waitFor('dockerd answers', answers, 60_000);
  }

  /** With SIGTERM, until it has ended. */
  async stop(): Promise<void> {
    const child = this.#process;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGTERM');
    await ended;
  }

  /** `docker ARGS`, which must succeed; what it printed. */
  docker(args: readonly string[], options: RunOptions = {}): Promise<string> {
    return mustRun('docker', args, { ...options, env: this.#clientEnv() });
  }

  /** The same, which may fail. */
  try(...args: string[]): ReturnType<typeof runProgram> {
    return runProgram('docker', args, { env: this.#clientEnv() });
  }

  #clientEnv(): NodeJS.ProcessEnv {
    return { ...daemonEnv(), ...this.#options.env, DOCKER_HOST: this.host };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    rmSync(this.#folder, { recursive: true, force: true });
    if (this.#hadCgroups) return;
    for (const path of globSync('/sys/fs/cgroup/{*/,}docker{/*,}').toSorted().toReversed()) {
      if (existsSync(join(path, 'cgroup.procs'))) rmdirSync(path);
    }
  }
}

/** Debian has it where root's path leads alone. */
export function daemonEnv(): NodeJS.ProcessEnv {
  return { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` };
}
