import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync, truncateSync } from 'node:fs';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { after, afterEach, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { mediaTypes } from '@flotilla/oci/image';
import { ImageProcess } from './testing/image-process.ts';
import { type Behaviour, OddRegistry } from './testing/odd-registry.ts';
import { putSmallImage, type SmallImage } from './testing/small-image.ts';

// The real service against a registry, and what it is sent to, that do everything wrong.
const skip = process.env.FLOTILLA_ROOT_TESTS === '1' ? false : 'unpacks layers: only root, with FLOTILLA_ROOT_TESTS=1';
const stack = new AsyncDisposableStack();
const stallMs = 600;
let registry: OddRegistry;
let other: OddRegistry;
/** A proxy that takes connections, and that is all. */
const deaf = createServer();
let service: ImageProcess;
let image: SmallImage;
let name: string;
/** Paths of the layers: plain, gzip, zstd. */
let layers: readonly RegExp[];

before(async () => {
  if (skip !== false) return;
  registry = stack.use(await OddRegistry.start());
  other = stack.use(await OddRegistry.start());
  await once(deaf.listen(0, '127.0.0.1'), 'listening');
  stack.defer(() => void deaf.close().closeAllConnections());
  image = await putSmallImage(registry, 'good');
  layers = image.manifest.layers.map(({ digest }) => new RegExp(`/blobs/${digest}$`));
  name = `${registry.host}/odd/image`;
  const settings = ['--registry-stall-ms', String(stallMs), '--registry-retry-ms', '10', '--registry-retries', '3'];
  service = stack.use(
    new ImageProcess([...settings, '--registry-mirrors', `mirrored.test=http://${other.host}`], {
      HTTPS_PROXY: `http://127.0.0.1:${(deaf.address() as AddressInfo).port}`,
      NO_PROXY: 'mirrored.test',
    }),
  );
});
after(() => stack.disposeAsync());
afterEach(async () => {
  if (skip !== false) return;
  registry.reset();
  other.reset();
  await service.removeAll();
  assert.deepEqual(await service.leftovers(), []);
});

const status =
  (code: number, headers: Record<string, string> = {}, body = ''): Behaviour =>
  (_request, response) => {
    response.writeHead(code, headers).end(body);
  };
const html = '<!doctype html><title>Log in to this network</title>'.repeat(20);
/** Sends so much of a layer, as if all of it would come, and then does something else. */
const partOf =
  (layer: number, share: number, then: (response: ServerResponse) => void): Behaviour =>
  (_request, response) => {
    const body = image.layers[layer]!;
    response.writeHead(200, { 'content-length': body.length });
    response.write(body.subarray(0, Math.floor(body.length * share)), () => then(response));
  };
const hangUp = (response: ServerResponse) => void response.socket?.destroy();
const redirect = (to: string) => status(307, { location: to });

/** What a pull must say when it fails, and that it says which image, and which layer. */
async function refused(tag: string, reason: string, { layer }: { readonly layer?: number } = {}): Promise<string> {
  let message = '';
  await assert.rejects(
    service.pull(`${name}:${tag}`),
    (error: Error & { reason: string; metadata: Record<string, string> }) => {
      assert.equal(error.reason, reason, error.message);
      assert.equal(error.metadata.image, `${name}:${tag}`);
      if (layer !== undefined) assert.equal(error.metadata.layer, image.manifest.layers[layer]?.digest);
      assert.ok(error.message.startsWith(`${name}:${tag}: `), error.message);
      message = error.message;
      return true;
    },
  );
  return message;
}

// What a layer's answer may be, and what comes of it.
const badLayers: readonly (readonly [what: string, behaviour: () => Behaviour, reason: string])[] = [
  ['breaks off in the middle, again and again', () => partOf(1, 0.5, hangUp), 'REGISTRY_UNAVAILABLE'],
  ['stalls, again and again', () => partOf(1, 0.5, () => {}), 'REGISTRY_UNAVAILABLE'],
  ['says that it is shorter', () => status(200, {}, 'short'), 'BLOB_SIZE_MISMATCH'],
  [
    'is shorter than it said',
    () => (_q, r) => void r.writeHead(200).end(image.layers[1]?.subarray(9)),
    'BLOB_SIZE_MISMATCH',
  ],
  [
    'goes on without an end',
    () => (_q, r) => {
      r.writeHead(200);
      r.on('error', () => {});
      const more = (error?: Error | null) => error == null && !r.destroyed && r.write(Buffer.alloc(100_000), more);
      more();
    },
    'BLOB_SIZE_MISMATCH',
  ],
  [
    'is something else',
    () => (_q, r) => void r.writeHead(200).end(Buffer.alloc(image.layers[1]!.length)),
    'DIGEST_MISMATCH',
  ],
  ['is a page', () => status(200, { 'content-type': 'text/html' }, html), 'BLOB_SIZE_MISMATCH'],
  ['is not there', () => status(404), 'BLOB_UNKNOWN'],
  ['is denied', () => status(403, {}, '{"errors":[{"code":"DENIED","message":"not for you"}]}'), 'REGISTRY_DENIED'],
  ['fails', () => status(500), 'REGISTRY_UNAVAILABLE'],
  [
    'is somewhere else, and that is here',
    () => (q, r) => void r.writeHead(302, { location: q.url! }).end(),
    'REGISTRY_ANSWER_INVALID',
  ],
  ['is a file of ours', () => redirect('file:///etc/passwd'), 'REGISTRY_ANSWER_INVALID'],
  ['is encoded', () => status(200, { 'content-encoding': 'gzip' }, 'x'), 'REGISTRY_ANSWER_INVALID'],
  ['is a teapot', () => status(418), 'REGISTRY_ANSWER_INVALID'],
  ['comes too often', () => status(429, { 'retry-after': '3600' }), 'REGISTRY_RATE_LIMITED'],
];
for (const [what, behaviour, reason] of badLayers) {
  test(`a layer that ${what}: ${reason}`, { skip }, async () => {
    registry.ranges = false;
    registry.when(layers[1]!, behaviour());
    const message = await refused('good', reason, { layer: 1 });
    assert.match(message, /layer [0-9a-f]{12}: /);
  });
}

// What may go wrong once, and is put right.
const mended: readonly (readonly [what: string, behaviour: () => Behaviour, times: number])[] = [
  ['breaks off at 90 %', () => partOf(1, 0.9, hangUp), 1],
  ['stalls at 90 %', () => partOf(1, 0.9, () => {}), 1],
  ['is refused twice', () => status(503), 2],
  ['cannot be had before a second is over', () => status(429, { 'retry-after': '1' }), 1],
  ['is closed in our face', () => (q) => void q.socket.destroy(), 2],
];
for (const [what, behaviour, times] of mended) {
  for (const ranges of [true, false]) {
    test(`a layer that ${what} comes in the end, ${ranges ? 'with' : 'without'} ranges`, { skip }, async () => {
      registry.ranges = ranges;
      registry.when(layers[1]!, behaviour(), times);
      const pulled = await service.pull(`${name}:good`);
      assert.equal(pulled.image.config?.cmd[0], 'sh');
      const requests = registry.asked.filter(({ path }) => layers[1]!.test(path));
      assert.equal(requests.length, times + 1);
      // Bytes that were there are not asked for again; a write that broke off may have arrived in part.
      if (what.includes('90')) assert.match(requests[1]?.range ?? '', /^bytes=[1-9]\d*-$/);
    });
  }
}

test('a range that begins elsewhere is refused', { skip }, async () => {
  registry.when(layers[1]!, partOf(1, 0.9, hangUp), 1);
  registry.when(layers[1]!, status(206, { 'content-range': 'bytes 7-8/9' }, 'xx'));
  await refused('good', 'REGISTRY_ANSWER_INVALID', { layer: 1 });
});

const manifests = /\/manifests\//;
const index = (manifestsOf: readonly object[]) => ({
  schemaVersion: 2,
  mediaType: mediaTypes.ociIndex,
  manifests: manifestsOf,
});
const badManifests: readonly (readonly [what: string, prepare: () => void, reason: string])[] = [
  [
    'is a page',
    () => registry.when(manifests, status(200, { 'content-type': 'text/html' }, html)),
    'REGISTRY_ANSWER_INVALID',
  ],
  [
    'is a page that says it is none',
    () => registry.when(manifests, status(200, { 'content-type': mediaTypes.ociManifest }, html)),
    'REGISTRY_ANSWER_INVALID',
  ],
  [
    'is no object',
    () => registry.putManifest(Buffer.from('[]'), mediaTypes.ociManifest, 'bad'),
    'REGISTRY_ANSWER_INVALID',
  ],
  ['is empty', () => registry.when(manifests, status(200)), 'REGISTRY_ANSWER_INVALID'],
  [
    'is not what its digest says',
    () => registry.when(manifests, status(200, { 'docker-content-digest': `sha256:${'a'.repeat(64)}` }, '{}')),
    'DIGEST_MISMATCH',
  ],
  [
    'has 5 MB, and says so',
    () => registry.when(manifests, status(200, {}, 'x'.repeat(5 << 20))),
    'REGISTRY_ANSWER_INVALID',
  ],
  [
    'is an index and a manifest at once',
    () => registry.putManifest({ ...image.manifest, manifests: [] }, mediaTypes.ociManifest, 'bad'),
    'REGISTRY_ANSWER_INVALID',
  ],
  [
    'is called otherwise than it calls itself',
    () => registry.putManifest(image.manifest, mediaTypes.ociIndex, 'bad'),
    'REGISTRY_ANSWER_INVALID',
  ],
  [
    'is of schema 1',
    () =>
      registry.putManifest(
        { schemaVersion: 1, fsLayers: [] },
        'application/vnd.docker.distribution.manifest.v1+prettyjws',
        'bad',
      ),
    'MEDIA_TYPE_UNSUPPORTED',
  ],
  [
    'is a chart',
    () =>
      registry.putManifest(
        {
          ...image.manifest,
          config: { ...image.manifest.config, mediaType: 'application/vnd.cncf.helm.config.v1+json' },
        },
        mediaTypes.ociManifest,
        'bad',
      ),
    'MEDIA_TYPE_UNSUPPORTED',
  ],
  [
    'has an encrypted layer',
    () =>
      registry.putManifest(
        {
          ...image.manifest,
          layers: [{ ...image.manifest.layers[0], mediaType: `${mediaTypes.ociLayerGzip}+encrypted` }],
        },
        mediaTypes.ociManifest,
        'bad',
      ),
    'MEDIA_TYPE_UNSUPPORTED',
  ],
  [
    'has 501 layers',
    () =>
      registry.putManifest(
        { ...image.manifest, layers: Array(501).fill(image.manifest.layers[0]) },
        mediaTypes.ociManifest,
        'bad',
      ),
    'DOCUMENT_INVALID',
  ],
  [
    'has a layer less than its config',
    () =>
      registry.putManifest(
        { ...image.manifest, layers: image.manifest.layers.slice(1) },
        mediaTypes.ociManifest,
        'bad',
      ),
    'DOCUMENT_INVALID',
  ],
  [
    'has a layer of a negative size',
    () =>
      registry.putManifest(
        { ...image.manifest, layers: [{ ...image.manifest.layers[0], size: -1 }] },
        mediaTypes.ociManifest,
        'bad',
      ),
    'DOCUMENT_INVALID',
  ],
  [
    'has layers of a petabyte',
    () =>
      registry.putManifest(
        { ...image.manifest, layers: [{ ...image.manifest.layers[0], size: 2 ** 50 }] },
        mediaTypes.ociManifest,
        'bad',
      ),
    'DOCUMENT_INVALID',
  ],
  [
    'says that a layer has another size',
    () =>
      registry.putManifest(
        { ...image.manifest, layers: image.manifest.layers.map((one) => ({ ...one, size: one.size + 1 })) },
        mediaTypes.ociManifest,
        'bad',
      ),
    'BLOB_SIZE_MISMATCH',
  ],
  [
    'has a layer for its config',
    () => registry.putManifest({ ...image.manifest, config: image.manifest.layers[0]! }, mediaTypes.ociManifest, 'bad'),
    'MEDIA_TYPE_UNSUPPORTED',
  ],
  [
    'is an index in an index in an index…',
    () => {
      let inner = registry.putManifest(image.manifest);
      for (let depth = 0; depth < 5; depth++) {
        inner = registry.putManifest(
          index([{ ...inner, platform: { os: 'linux', architecture: 'amd64' } }]),
          mediaTypes.ociIndex,
          'bad',
        );
      }
    },
    'REGISTRY_ANSWER_INVALID',
  ],
  ['is an index of nothing', () => registry.putManifest(index([]), mediaTypes.ociIndex, 'bad'), 'PLATFORM_NOT_FOUND'],
];
for (const [what, prepare, reason] of badManifests) {
  test(`a manifest that ${what}: ${reason}`, { skip }, async () => {
    prepare();
    await refused('bad', reason);
  });
}

test('of a manifest without an end, no more is read than it may have', { skip }, async () => {
  let sent = 0;
  registry.when(manifests, (_request, response) => {
    response.on('error', () => {});
    const piece = Buffer.alloc(1 << 20, ' ');
    const more = (error?: Error | null) => {
      if (error != null || response.destroyed || sent >= 100 << 20) return;
      sent += piece.length;
      response.write(piece, more);
    };
    response.writeHead(200, { 'content-type': mediaTypes.ociManifest });
    more();
  });
  await refused('bad', 'REGISTRY_ANSWER_INVALID');
  assert.ok(sent < 30 << 20, `${sent} bytes were taken`);
});

const challenges: readonly (readonly [
  what: string,
  challenge: () => string,
  token: Behaviour | undefined,
  reason: string,
])[] = [
  ['asks for a log-in that nobody knows', () => 'Negotiate', undefined, 'REGISTRY_UNAUTHORIZED'],
  ['asks for nothing', () => '', undefined, 'REGISTRY_UNAUTHORIZED'],
  ['names a file as its token server', () => 'Bearer realm="file:///etc/passwd"', undefined, 'REGISTRY_ANSWER_INVALID'],
  ['names no token server', () => 'Bearer service="x"', undefined, 'REGISTRY_ANSWER_INVALID'],
  [
    'has a token server that sends a page',
    () => `Bearer realm="http://${other.host}/token"`,
    status(200, {}, html),
    'REGISTRY_ANSWER_INVALID',
  ],
  [
    'has a token server that sends none',
    () => `Bearer realm="http://${other.host}/token"`,
    status(200, {}, '{}'),
    'REGISTRY_ANSWER_INVALID',
  ],
  [
    'has a token server that sends two lines',
    () => `Bearer realm="http://${other.host}/token"`,
    status(200, {}, '{"token":"a\\r\\nx: y"}'),
    'REGISTRY_ANSWER_INVALID',
  ],
  [
    'has a token server that fails',
    () => `Bearer realm="http://${other.host}/token"`,
    status(500),
    'REGISTRY_UNAVAILABLE',
  ],
  [
    'does not take the token',
    () => `Bearer realm="http://${other.host}/token"`,
    status(200, {}, '{"token":"t"}'),
    'REGISTRY_UNAUTHORIZED',
  ],
];
for (const [what, challenge, token, reason] of challenges) {
  test(`a registry that ${what}: ${reason}`, { skip }, async () => {
    if (token !== undefined) other.when(/^\/token/, token);
    registry.when(manifests, (q, r) => status(401, { 'www-authenticate': challenge() })(q, r, () => {}));
    await refused('good', reason);
  });
}

test('a password goes to the registry, not to where it sends us, nor to a mirror', { skip }, async () => {
  const auth = { username: 'me', password: 'secret' };
  const wanted = `Basic ${Buffer.from('me:secret').toString('base64')}`;
  registry.when(/./, (request, response, serve) => {
    if (request.headers.authorization !== wanted)
      response.writeHead(401, { 'www-authenticate': 'Basic realm=x' }).end();
    else if (layers.some((one) => one.test(request.url ?? '')))
      redirect(`http://${other.host}${request.url}`)(request, response, serve);
    else serve();
  });
  for (const body of image.layers) other.putBlob(body);
  await service.pull(`${name}:good`, { auth });
  assert.equal(other.asked.length, 3);
  assert.deepEqual(
    other.asked.map(({ authorization }) => authorization),
    [undefined, undefined, undefined],
  );
  await service.removeAll();
  other.reset();
  other.when(/./, status(401, { 'www-authenticate': 'Basic realm=x' }));
  await assert.rejects(service.pull('mirrored.test/odd/image:good', { auth }), { reason: 'REGISTRY_UNAVAILABLE' });
  assert.ok(other.asked.length > 0);
  assert.ok(other.asked.every(({ authorization }) => authorization === undefined));
});

test('a mirror is asked first, and what it has need not be anywhere else', { skip }, async () => {
  await putSmallImage(other, 'copy');
  const { image: pulled } = await service.pull('mirrored.test/odd/image:copy');
  assert.deepEqual(pulled.references, ['mirrored.test/odd/image:copy']);
});

test('a layer that leaves its root is refused by name, with image and layer', { skip }, async () => {
  const evil = await putSmallImage(registry, 'evil', { names: ['good', '../../escaped'] });
  await assert.rejects(service.pull(`${name}:evil`), (error: { reason: string; metadata: Record<string, string> }) => {
    assert.equal(error.reason, 'LAYER_ENTRY_REFUSED');
    assert.deepEqual([error.metadata.entry, error.metadata.image], ['../../escaped', `${name}:evil`]);
    assert.equal(error.metadata.layer, evil.manifest.layers[1]?.digest);
    return true;
  });
});

test('a registry that takes a question and never answers, and a proxy that does: REGISTRY_UNAVAILABLE', {
  skip,
}, async () => {
  registry.when(manifests, () => {});
  assert.match(await refused('good', 'REGISTRY_UNAVAILABLE'), /no byte came for 600 ms/);
  deaf.on('connect', () => {});
  await assert.rejects(service.pull('behind.proxy.test/a:1'), {
    reason: 'REGISTRY_UNAVAILABLE',
    message: /timed out after 600 ?ms|no byte came for 600 ms/,
  });
});

test('a blob that the disk has lost the end of is fetched again', { skip }, async () => {
  const pulled = await service.pull(`${name}:good`);
  const { digest } = image.manifest.layers[1]!;
  const path = join(service.root, 'image/content/blobs/sha256', digest.slice('sha256:'.length));
  truncateSync(path, 1000);
  registry.reset();
  assert.equal((await service.pull(`${name}:good`)).image.imageId, pulled.image.imageId);
  assert.equal(registry.asked.filter(({ path: asked }) => asked.includes('/blobs/')).length, 1);
  assert.deepEqual(readFileSync(path), image.layers[1]);
});

test('a pull that is cancelled hangs up, and leaves nothing', { skip }, async () => {
  const controller = new AbortController();
  const closed = Promise.withResolvers<void>();
  registry.when(
    layers[2]!,
    partOf(2, 0.5, (response) => {
      response.once('close', closed.resolve);
      controller.abort();
    }),
  );
  const before = Date.now();
  await assert.rejects(service.pull(`${name}:good`, { signal: controller.signal }));
  await closed.promise;
  assert.ok(Date.now() - before < 5_000);
});

test('what two pulls want goes on when the one that began is cancelled', { skip }, async () => {
  const controller = new AbortController();
  const begun = Promise.withResolvers<ServerResponse>();
  registry.when(layers[1]!, partOf(1, 0.5, begun.resolve));
  const first = service.pull(`${name}:good`, { signal: controller.signal });
  const response = await begun.promise;
  const second = service.pull(`${name}:good`);
  while (registry.asked.filter(({ path }) => path.endsWith('/manifests/good')).length < 2) await sleep(10);
  await sleep(100); // the second one's config is there: it joins at once
  controller.abort();
  await assert.rejects(first);
  response.end(image.layers[1]!.subarray(Math.floor(image.layers[1]!.length * 0.5)));
  await once(response, 'close');
  assert.equal((await second).image.config?.cmd[0], 'sh');
  const requests = registry.asked.filter(({ path }) => path.includes('/blobs/')).map(({ path }) => path);
  assert.equal(requests.length, 4);
  assert.equal(new Set(requests).size, 4);
});
