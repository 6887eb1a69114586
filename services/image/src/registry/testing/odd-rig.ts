import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { ImageProcess } from './image-process.ts';
import { type Behaviour, OddRegistry } from './odd-registry.ts';
import { putSmallImage, type SmallImage } from './small-image.ts';

/** Why these tests are left out; false when they are not. */
export const skip =
  process.env.FLOTILLA_ROOT_TESTS === '1' ? false : 'unpacks layers: only root, with FLOTILLA_ROOT_TESTS=1';

/** The real service, and a registry, places that it is sent to and a proxy that do everything wrong. */
export class OddRig implements AsyncDisposable {
  /** Has an image by the tag `good`. */
  readonly registry: OddRegistry;
  /** Where redirects lead, the token server, and the mirror of `mirrored.test`. */
  readonly other: OddRegistry;
  readonly service: ImageProcess;
  readonly image: SmallImage;
  readonly #stack: AsyncDisposableStack;

  private constructor(parts: Pick<OddRig, 'registry' | 'other' | 'service' | 'image'>, stack: AsyncDisposableStack) {
    this.registry = parts.registry;
    this.other = parts.other;
    this.service = parts.service;
    this.image = parts.image;
    this.#stack = stack;
  }

  static async start(): Promise<OddRig> {
    await using stack = new AsyncDisposableStack();
    const registry = stack.use(await OddRegistry.start());
    const other = stack.use(await OddRegistry.start());
    const image = await putSmallImage(registry, 'good');
    // A proxy that takes connections, and that is all.
    const deaf = createServer().on('connect', () => {});
    await once(deaf.listen(0, '127.0.0.1'), 'listening');
    stack.defer(() => void deaf.close().closeAllConnections());
    const settings = ['--registry-stall-ms', '600', '--registry-retry-ms', '10', '--registry-retries', '3'];
    const service = stack.use(
      new ImageProcess([...settings, '--registry-mirrors', `mirrored.test=http://${other.host}`], {
        HTTPS_PROXY: `http://127.0.0.1:${(deaf.address() as AddressInfo).port}`,
        NO_PROXY: 'mirrored.test',
      }),
    );
    return new OddRig({ registry, other, service, image }, stack.move());
  }

  /** Of the image that the registry has. */
  get name(): string {
    return `${this.registry.host}/odd/image`;
  }

  /** Paths of the layers: plain, gzip, zstd. */
  get layers(): readonly RegExp[] {
    return this.image.manifest.layers.map(({ digest }) => new RegExp(`/blobs/${digest}$`));
  }

  /** After each test: everybody behaves again, and nothing may be left of what was pulled. */
  async reset(): Promise<void> {
    this.registry.reset();
    this.other.reset();
    await this.service.removeAll();
    assert.deepEqual(await this.service.leftovers(), []);
  }

  /** A pull that must fail: for which reason, and that it says which image and which layer. Gives its message. */
  async refused(tag: string, reason: string, { layer }: { readonly layer?: number } = {}): Promise<string> {
    const pulled = `${this.name}:${tag}`;
    let message = '';
    await assert.rejects(
      this.service.pull(pulled),
      (error: Error & { reason: string; metadata: Record<string, string> }) => {
        assert.equal(error.reason, reason, error.message);
        assert.equal(error.metadata.image, pulled);
        if (layer !== undefined) assert.equal(error.metadata.layer, this.image.manifest.layers[layer]?.digest);
        assert.ok(error.message.startsWith(`${pulled}: `), error.message);
        message = error.message;
        return true;
      },
    );
    return message;
  }

  /** Sends so much of a layer, as if all of it would come, and then does something else. */
  partOf(layer: number, share: number, then: (response: ServerResponse) => void): Behaviour {
    return (_request, response) => {
      const body = this.image.layers[layer]!;
      response.writeHead(200, { 'content-length': body.length });
      response.write(body.subarray(0, Math.floor(body.length * share)), () => then(response));
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

/** Answers so, whatever was asked. */
export function status(code: number, headers: Record<string, string> = {}, body = ''): Behaviour {
  return (_request, response) => {
    response.writeHead(code, headers).end(body);
  };
}

export const redirect = (to: string) => status(307, { location: to });
/** What hotels answer instead of a registry. */
export const html = '<!doctype html><title>Log in to this network</title>'.repeat(20);
export const manifests = /\/manifests\//;
