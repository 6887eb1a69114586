import { mkdirSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Engine } from '../harness/engine.ts';
import { GrpcClient } from '../harness/grpc-client.ts';
import { mustRun } from '../harness/run-program.ts';
import { describeRoot, type RootManifest } from './describe-root.ts';
import type { PulledImage, Puller } from './tool.ts';

interface Inspected {
  readonly image_id: string;
  readonly manifest_digest: string;
  readonly diff_ids: readonly string[];
}
interface Mounts {
  readonly mounts: readonly { readonly type: string; readonly source: string; readonly options: readonly string[] }[];
}

const timeoutMs = 280_000;

/** The engine, by its client. */
export class Flotilla implements Puller, Disposable {
  readonly name = 'flotilla';
  readonly #engine: Engine;
  readonly #folder: string;
  readonly #images: GrpcClient;

  /** `config.json` of the folder says who is logged in. */
  constructor(engine: Engine, folder: string) {
    this.#engine = engine;
    this.#folder = folder;
    this.#images = new GrpcClient(join(engine.folders.run, 'image.sock'));
  }

  async pull(reference: string, keep = false): Promise<PulledImage> {
    await this.#ok('pull', '--quiet', reference);
    const { image } = (await this.#images.call('ImageService', 'GetImage', { image: reference, platform: '' })) as {
      image: Inspected;
    };
    const { image_id: config, manifest_digest: manifest, diff_ids: diffIds } = image;
    const root = await this.#look(config);
    if (!keep) await this.removeAll();
    return { digests: { manifest, config, diffIds }, root };
  }

  /** Sends what it has as one name as another. */
  async push(name: string, target: string): Promise<void> {
    await this.#ok('tag', name, target);
    await this.#ok('push', '--quiet', target);
  }

  /** Forgets every image, layers and all. */
  async removeAll(): Promise<void> {
    const ids = (await this.#ok('images', '--quiet', '--no-trunc')).split('\n').filter(Boolean);
    if (ids.length > 0) await this.#ok('rmi', '--force', ...new Set(ids));
  }

  /** The root that a container of it would have. */
  async #look(imageId: string): Promise<RootManifest> {
    const service = 'flotilla.image.v1.SnapshotService';
    const key = 'matrix';
    const target = join(this.#folder, 'flotilla-root');
    const { mounts } = (await this.#images.call(service, 'PrepareSnapshot', {
      key,
      image_id: imageId,
    })) as unknown as Mounts;
    await using stack = new AsyncDisposableStack();
    stack.defer(async () => void (await this.#images.call(service, 'RemoveSnapshot', { key })));
    mkdirSync(target);
    stack.defer(() => rmdirSync(target));
    for (const { type, source, options } of mounts) {
      await mustRun('mount', ['-t', type, source, '-o', options.join(','), target]);
      stack.defer(async () => void (await mustRun('umount', [target])));
    }
    return await describeRoot(target);
  }

  async #ok(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.#engine.flotilla(args, {
      timeoutMs,
      env: { DOCKER_CONFIG: this.#folder },
    });
    if (code !== 0) throw new Error(`flotilla ${args.join(' ')} ended with ${code}: ${stderr}`);
    return stdout;
  }

  [Symbol.dispose](): void {
    this.#images[Symbol.dispose]();
  }
}
