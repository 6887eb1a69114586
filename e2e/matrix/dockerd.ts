import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, globSync, mkdirSync, openSync, readFileSync, rmdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { mustRun, runProgram } from '../harness/run-program.ts';
import { waitFor } from '../harness/wait.ts';
import { describeRoot, type RootManifest } from './describe-root.ts';
import type { PulledImage, Puller } from './tool.ts';

interface Inspected {
  readonly Id: string;
  readonly RepoDigests: readonly string[];
  readonly RootFS: { readonly Layers: readonly string[] };
  readonly GraphDriver: { readonly Data: { readonly LowerDir?: string; readonly UpperDir: string } };
}

const timeoutMs = 280_000;

/** A Docker daemon of one's own, without any network: it only has to move images. */
export class Dockerd implements Puller, AsyncDisposable {
  readonly name = 'dockerd';
  readonly #folder: string;
  readonly #hadCgroups: boolean = globSync('/sys/fs/cgroup/{*/,}docker').length > 0;
  readonly #process: ChildProcess;

  private constructor(folder: string) {
    this.#folder = join(folder, 'docker');
    mkdirSync(this.#folder);
    const at = (name: string) => join(this.#folder, name);
    const places = ['--data-root', at('data'), '--exec-root', at('exec'), '--pidfile', at('pid'), '--host', this.host];
    const network = ['--bridge=none', '--iptables=false', '--ip6tables=false', '--ip-forward=false', '--ip-masq=false'];
    const log = openSync(at('log'), 'w');
    // Two layers at once by default, and a file for each upload: the same as any user has it.
    this.#process = spawn('dockerd', [...places, ...network, '--storage-driver', 'overlay2'], {
      stdio: ['ignore', log, log],
      env: daemonEnv(),
    });
  }

  /** Why there cannot be one; undefined where there can. */
  static async problem(): Promise<string | undefined> {
    for (const program of ['docker', 'dockerd']) {
      const found = await runProgram('sh', ['-c', `command -v ${program}`], { env: daemonEnv() });
      if (found.code !== 0) return `${program} is not installed`;
    }
    return undefined;
  }

  /** `config.json` of the folder says who is logged in. */
  static async start(folder: string): Promise<Dockerd> {
    await using stack = new AsyncDisposableStack();
    const daemon = stack.use(new Dockerd(folder));
    await waitFor(
      'dockerd answers',
      async () => {
        if (daemon.#process.exitCode !== null) throw new Error(readFileSync(join(daemon.#folder, 'log'), 'utf8'));
        return (await runProgram('docker', ['info'], { env: daemon.#env() })).code === 0;
      },
      60_000,
    );
    stack.move();
    return daemon;
  }

  get host(): string {
    return `unix://${join(this.#folder, 'docker.sock')}`;
  }

  /** Sends what it has as one name as another. */
  async push(name: string, target: string): Promise<void> {
    await this.#docker('tag', name, target);
    await this.#docker('push', '--quiet', target);
  }

  async pull(reference: string): Promise<PulledImage> {
    await this.#docker('pull', '--quiet', reference);
    const pulled = await this.look(reference);
    await this.removeAll();
    return pulled;
  }

  /** An image that it has. */
  async look(name: string): Promise<PulledImage> {
    const [image] = JSON.parse(await this.#docker('image', 'inspect', name)) as [Inspected];
    const manifest = image.RepoDigests.find((one) => name.startsWith(one.split('@')[0] ?? one))?.split('@')[1];
    const digests = { config: image.Id, diffIds: image.RootFS.Layers, ...(manifest === undefined ? {} : { manifest }) };
    return { digests, root: await this.#look(image.GraphDriver.Data), makesImpliedFolders: true };
  }

  /** Forgets every image, layers and all. */
  async removeAll(): Promise<void> {
    const ids = (await this.#docker('images', '--quiet', '--no-trunc')).split('\n').filter(Boolean);
    if (ids.length > 0) await this.#docker('rmi', '--force', ...new Set(ids));
  }

  /** Its layers over one another, by their short names: mount(2) takes a page of options. */
  async #look({ LowerDir, UpperDir }: Inspected['GraphDriver']['Data']): Promise<RootManifest> {
    const layers = [UpperDir, ...(LowerDir?.split(':') ?? [])];
    if (layers.length === 1) return describeRoot(UpperDir);
    const target = join(this.#folder, 'root');
    mkdirSync(target, { recursive: true });
    const links = layers.map((path) => `l/${readFileSync(join(path, '../link'), 'utf8')}`);
    await mustRun('mount', ['-t', 'overlay', 'overlay', '-o', `ro,lowerdir=${links.join(':')}`, target], {
      cwd: join(this.#folder, 'data/overlay2'),
    });
    try {
      return await describeRoot(target);
    } finally {
      await mustRun('umount', [target]);
    }
  }

  #env(): NodeJS.ProcessEnv {
    return { ...daemonEnv(), DOCKER_HOST: this.host, DOCKER_CONFIG: join(this.#folder, '..') };
  }

  #docker(...args: string[]): Promise<string> {
    return mustRun('docker', args, { env: this.#env(), timeoutMs });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#process.exitCode === null && this.#process.signalCode === null) {
      const ended = once(this.#process, 'exit');
      this.#process.kill('SIGTERM');
      await ended;
    }
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
