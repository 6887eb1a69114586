import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { mediaTypes } from '@flotilla/oci/image';
import type { Behaviour } from './testing/odd-registry.ts';
import { html, manifests, OddRig, skip, status } from './testing/odd-rig.ts';

let rig: OddRig;
before(async () => {
  if (skip === false) rig = await OddRig.start();
});
after(() => rig?.[Symbol.asyncDispose]());
afterEach(() => rig?.reset());

const index = (manifestsOf: readonly object[]) => ({
  schemaVersion: 2,
  mediaType: mediaTypes.ociIndex,
  manifests: manifestsOf,
});
/** The good image's manifest, changed a little. */
const put = (changes: object) =>
  rig.registry.putManifest({ ...rig.image.manifest, ...changes }, mediaTypes.ociManifest, 'bad');
const badManifests: readonly (readonly [what: string, prepare: () => void, reason: string])[] = [
  [
    'is a page',
    () => rig.registry.when(manifests, status(200, { 'content-type': 'text/html' }, html)),
    'REGISTRY_ANSWER_INVALID',
  ],
  [
    'is a page that says it is none',
    () => rig.registry.when(manifests, status(200, { 'content-type': mediaTypes.ociManifest }, html)),
    'REGISTRY_ANSWER_INVALID',
  ],
  [
    'is no object',
    () => rig.registry.putManifest(Buffer.from('[]'), mediaTypes.ociManifest, 'bad'),
    'REGISTRY_ANSWER_INVALID',
  ],
  ['is empty', () => rig.registry.when(manifests, status(200)), 'REGISTRY_ANSWER_INVALID'],
  [
    'is not what its digest says',
    () => rig.registry.when(manifests, status(200, { 'docker-content-digest': `sha256:${'a'.repeat(64)}` }, '{}')),
    'DIGEST_MISMATCH',
  ],
  [
    'has 5 MB, and says so',
    () => rig.registry.when(manifests, status(200, {}, 'x'.repeat(5 << 20))),
    'REGISTRY_ANSWER_INVALID',
  ],
  ['is an index and a manifest at once', () => put({ manifests: [] }), 'REGISTRY_ANSWER_INVALID'],
  [
    'is called otherwise than it calls itself',
    () => rig.registry.putManifest(rig.image.manifest, mediaTypes.ociIndex, 'bad'),
    'REGISTRY_ANSWER_INVALID',
  ],
  [
    'is of schema 1',
    () =>
      rig.registry.putManifest(
        { schemaVersion: 1, fsLayers: [] },
        'application/vnd.docker.distribution.manifest.v1+prettyjws',
        'bad',
      ),
    'MEDIA_TYPE_UNSUPPORTED',
  ],
  [
    'is a chart',
    () => put({ config: { ...rig.image.manifest.config, mediaType: 'application/vnd.cncf.helm.config.v1+json' } }),
    'MEDIA_TYPE_UNSUPPORTED',
  ],
  [
    'has an encrypted layer',
    () => put({ layers: [{ ...rig.image.manifest.layers[0], mediaType: `${mediaTypes.ociLayerGzip}+encrypted` }] }),
    'MEDIA_TYPE_UNSUPPORTED',
  ],
  ['has 501 layers', () => put({ layers: Array(501).fill(rig.image.manifest.layers[0]) }), 'DOCUMENT_INVALID'],
  ['has a layer less than its config', () => put({ layers: rig.image.manifest.layers.slice(1) }), 'DOCUMENT_INVALID'],
  [
    'has a layer of a negative size',
    () => put({ layers: [{ ...rig.image.manifest.layers[0], size: -1 }] }),
    'DOCUMENT_INVALID',
  ],
  [
    'has layers of a petabyte',
    () => put({ layers: [{ ...rig.image.manifest.layers[0], size: 2 ** 50 }] }),
    'DOCUMENT_INVALID',
  ],
  [
    'says that a layer has another size',
    () => put({ layers: rig.image.manifest.layers.map((one) => ({ ...one, size: one.size + 1 })) }),
    'BLOB_SIZE_MISMATCH',
  ],
  ['has a layer for its config', () => put({ config: rig.image.manifest.layers[0]! }), 'MEDIA_TYPE_UNSUPPORTED'],
  [
    'is an index in an index in an index…',
    () => {
      let inner = rig.registry.putManifest(rig.image.manifest);
      for (let depth = 0; depth < 5; depth++) {
        inner = rig.registry.putManifest(
          index([{ ...inner, platform: { os: 'linux', architecture: 'amd64' } }]),
          mediaTypes.ociIndex,
          'bad',
        );
      }
    },
    'REGISTRY_ANSWER_INVALID',
  ],
  [
    'is an index of nothing',
    () => rig.registry.putManifest(index([]), mediaTypes.ociIndex, 'bad'),
    'PLATFORM_NOT_FOUND',
  ],
];
for (const [what, prepare, reason] of badManifests) {
  test(`a manifest that ${what}: ${reason}`, { skip }, async () => {
    prepare();
    await rig.refused('bad', reason);
  });
}

test('of a manifest without an end, no more is read than it may have', { skip }, async () => {
  let sent = 0;
  rig.registry.when(manifests, (_request, response) => {
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
  await rig.refused('bad', 'REGISTRY_ANSWER_INVALID');
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
    () => `Bearer realm="http://${rig.other.host}/token"`,
    status(200, {}, html),
    'REGISTRY_ANSWER_INVALID',
  ],
  [
    'has a token server that sends none',
    () => `Bearer realm="http://${rig.other.host}/token"`,
    status(200, {}, '{}'),
    'REGISTRY_ANSWER_INVALID',
  ],
  [
    'has a token server that sends two lines',
    () => `Bearer realm="http://${rig.other.host}/token"`,
    status(200, {}, '{"token":"a\\r\\nx: y"}'),
    'REGISTRY_ANSWER_INVALID',
  ],
  [
    'has a token server that fails',
    () => `Bearer realm="http://${rig.other.host}/token"`,
    status(500),
    'REGISTRY_UNAVAILABLE',
  ],
  [
    'does not take the token',
    () => `Bearer realm="http://${rig.other.host}/token"`,
    status(200, {}, '{"token":"t"}'),
    'REGISTRY_UNAUTHORIZED',
  ],
];
for (const [what, challenge, token, reason] of challenges) {
  test(`a registry that ${what}: ${reason}`, { skip }, async () => {
    if (token !== undefined) rig.other.when(/^\/token/, token);
    rig.registry.when(manifests, (q, r) => status(401, { 'www-authenticate': challenge() })(q, r, () => {}));
    await rig.refused('good', reason);
  });
}
