import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { createReadStream, createWriteStream, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { SnapshotServiceService } from '@flotilla/proto/flotilla/image/v1/snapshot';
import {
  type Image,
  ImageServiceService,
  RegistryAuth,
  type TransferProgress,
} from '@flotilla/proto/flotilla/v1/image';
import { type Client, connect } from '@flotilla/rpc';

export interface PullOptions {
  readonly platform?: string;
  readonly auth?: Partial<RegistryAuth>;
  readonly signal?: AbortSignal;
}

/** The image service in a process of its own, with folders of its own. */
export class ImageProcess implements AsyncDisposable {
  readonly folder = mkdtempSync(join(tmpdir(), 'fi-'));
  readonly root = join(this.folder, 'root');
  readonly images: Client<typeof ImageServiceService>;
  readonly #snapshots: Client<typeof SnapshotServiceService>;
  readonly #process: ChildProcess;

  constructor(args: readonly string[], env: NodeJS.ProcessEnv = {}) {
    mkdirSync(this.root);
    this.#process = spawn(process.execPath, [new URL('../../main.ts', import.meta.url).pathname, ...args], {
      env: { ...process.env, FLOTILLA_ROOT: this.root, FLOTILLA_RUN: this.folder, FLOTILLA_LOG: 'error', ...env },
      stdio: 'inherit',
    });
    const options = { address: `unix://${this.folder}/image.sock`, name: 'image', deadlineMs: 20_000 };
    this.images = connect(ImageServiceService, options);
    this.#snapshots = connect(SnapshotServiceService, options);
  }

  /** Pulls, and gives all that was said meanwhile, too. */
  async pull(
    reference: string,
    { platform = '', auth, signal }: PullOptions = {},
  ): Promise<{ readonly image: Image; readonly progress: readonly TransferProgress[] }> {
    const progress: TransferProgress[] = [];
    let image: Image | undefined;
    const request = { reference, platform, auth: auth === undefined ? undefined : RegistryAuth.fromPartial(auth) };
    for await (const { event } of this.images.pullImage(request, signal === undefined ? {} : { signal })) {
      if (event?.$case === 'progress') progress.push(event.value);
      if (event?.$case === 'image') image = event.value;
    }
    if (image === undefined) throw new Error('the pull ended without an image');
    return { image, progress };
  }

  /** Pushes, and gives all that was said meanwhile, too. */
  async push(
    reference: string,
    { auth, signal }: Omit<PullOptions, 'platform'> = {},
  ): Promise<{ readonly digest: string; readonly sizeBytes: bigint; readonly progress: readonly TransferProgress[] }> {
    const progress: TransferProgress[] = [];
    const request = { reference, auth: auth === undefined ? undefined : RegistryAuth.fromPartial(auth) };
    for await (const { event, manifestSizeBytes } of this.images.pushImage(
      request,
      signal === undefined ? {} : { signal },
    )) {
      if (event?.$case === 'progress') progress.push(event.value);
      if (event?.$case === 'manifestDigest') return { digest: event.value, sizeBytes: manifestSizeBytes, progress };
    }
    throw new Error('the push ended without a digest');
  }

  /** Loads an archive from a file. */
  async load(path: string): Promise<Image[]> {
    const loaded: Image[] = [];
    const chunks = async function* () {
      for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) yield { chunk: chunk as Buffer };
    };
    for await (const { event } of this.images.loadImages(chunks())) {
      if (event?.$case === 'image') loaded.push(event.value);
    }
    return loaded;
  }

  /** Saves images into a file. */
  async save(path: string, references: readonly string[]): Promise<void> {
    const chunks = async function* (images: ImageProcess['images']) {
      for await (const { chunk } of images.saveImages({ references: [...references] })) yield chunk;
    };
    await pipeline(chunks(this.images), createWriteStream(path));
  }

  get pid(): number {
    return this.#process.pid ?? 0;
  }

  /** Mounts an image as a container would see it, and looks at it. */
  async withMounted<T>(imageId: string, look: (path: string) => T): Promise<T> {
    const key = 'look';
    const { mounts } = await this.#snapshots.prepareSnapshot({ key, imageId });
    const target = join(this.folder, 'mounted');
    mkdirSync(target, { recursive: true });
    const [mount] = mounts;
    execFileSync('mount', ['-t', mount!.type, mount!.source, '-o', mount!.options.join(','), target]);
    try {
      return look(target);
    } finally {
      execFileSync('umount', [target]);
      await this.#snapshots.removeSnapshot({ key });
    }
  }

  async removeAll(): Promise<void> {
    const { images } = await this.images.listImages({ references: [], labels: [], dangling: true });
    for (const { imageId } of images) await this.images.removeImage({ image: imageId, force: true });
  }

  /** What the store holds, once what is being removed is gone: nothing after a pull that failed. */
  async leftovers(): Promise<string[]> {
    for (let tries = 0; ; tries++) {
      const left = ['content/blobs/sha256', 'content/ingest', 'layers'].flatMap((name) => {
        const path = join(this.root, 'image', name);
        return existsSync(path) ? readdirSync(path).map((one) => `${name}/${one}`) : [];
      });
      if (left.length === 0 || tries === 60) return left;
      await sleep(50);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.images[Symbol.dispose]();
    this.#snapshots[Symbol.dispose]();
    if (this.#process.exitCode === null && this.#process.signalCode === null) {
      const ended = new Promise((resolve) => this.#process.once('exit', resolve));
      this.#process.kill('SIGTERM');
      await ended;
    }
    rmSync(this.folder, { recursive: true, force: true });
  }
}
