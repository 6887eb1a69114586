import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DockerDaemon, withoutNetwork } from '../harness/docker-daemon.ts';
import { mustRun } from '../harness/run-program.ts';
import { describeRoot, type RootManifest } from './describe-root.ts';
import type { PulledImage, Puller } from './tool.ts';

interface Inspected {
  readonly Id: string;
  readonly RepoDigests: readonly string[];
  readonly RootFS: { readonly Layers: readonly string[] };
  readonly GraphDriver: { readonly Data: { readonly LowerDir?: string; readonly UpperDir: string } };
}

const timeoutMs = 280_000;

/** A Docker daemon of one's own. */
export class Dockerd implements Puller, AsyncDisposable {
  readonly name = 'dockerd';
  readonly #folder: string;
  readonly #daemon: DockerDaemon;

  private constructor(folder: string, daemon: DockerDaemon) {
    this.#folder = folder;
    this.#daemon = daemon;
  }

  /** `config.json` of the folder says who is logged in. */
  static async start(folder: string): Promise<Dockerd> {
    const own = join(folder, 'docker');
    const flags = [...withoutNetwork, '--storage-driver', 'overlay2'];
    return new Dockerd(own, await DockerDaemon.start(own, { flags, env: { DOCKER_CONFIG: folder } }));
  }

  get host(): string {
    return this.#daemon.host;
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

  #docker(...args: string[]): Promise<string> {
    return this.#daemon.docker(args, { timeoutMs });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#daemon[Symbol.asyncDispose]();
  }
}
