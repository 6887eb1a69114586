import assert from 'node:assert/strict';
import { readFileSync, truncateSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { join } from 'node:path';
import { after, afterEach, before, test } from 'node:test';
import type { Behaviour } from './testing/odd-registry.ts';
import { html, OddRig, redirect, skip, status } from './testing/odd-rig.ts';

let rig: OddRig;
before(async () => {
  if (skip === false) rig = await OddRig.start();
});
after(() => rig?.[Symbol.asyncDispose]());
afterEach(() => rig?.reset());
const hangUp = (response: ServerResponse) => void response.socket?.destroy();

// What a layer's answer may be, and what comes of it.
const badLayers: readonly (readonly [what: string, behaviour: () => Behaviour, reason: string])[] = [
  ['breaks off in the middle, again and again', () => rig.partOf(1, 0.5, hangUp), 'REGISTRY_UNAVAILABLE'],
  ['stalls, again and again', () => rig.partOf(1, 0.5, () => {}), 'REGISTRY_UNAVAILABLE'],
  ['says that it is shorter', () => status(200, {}, 'short'), 'BLOB_SIZE_MISMATCH'],
  [
    'is shorter than it said',
    () => (_q, r) => void r.writeHead(200).end(rig.image.layers[1]?.subarray(9)),
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
    () => (_q, r) => void r.writeHead(200).end(Buffer.alloc(rig.image.layers[1]!.length)),
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
    rig.registry.ranges = false;
    rig.registry.when(rig.layers[1]!, behaviour());
    const message = await rig.refused('good', reason, { layer: 1 });
    assert.match(message, /layer [0-9a-f]{12}: /);
  });
}

// What may go wrong once, and is put right.
const mended: readonly (readonly [what: string, behaviour: () => Behaviour, times: number])[] = [
  ['breaks off at 90 %', () => rig.partOf(1, 0.9, hangUp), 1],
  ['stalls at 90 %', () => rig.partOf(1, 0.9, () => {}), 1],
  ['is refused twice', () => status(503), 2],
  ['cannot be had before a second is over', () => status(429, { 'retry-after': '1' }), 1],
  ['is closed in our face', () => (q) => void q.socket.destroy(), 2],
];
for (const [what, behaviour, times] of mended) {
  for (const ranges of [true, false]) {
    test(`a layer that ${what} comes in the end, ${ranges ? 'with' : 'without'} ranges`, { skip }, async () => {
      rig.registry.ranges = ranges;
      rig.registry.when(rig.layers[1]!, behaviour(), times);
      const pulled = await rig.service.pull(`${rig.name}:good`);
      assert.equal(pulled.image.config?.cmd[0], 'sh');
      const requests = rig.registry.asked.filter(({ path }) => rig.layers[1]!.test(path));
      assert.equal(requests.length, times + 1);
      // Bytes that were there are not asked for again; a write that broke off may have arrived in part.
      if (what.includes('90')) assert.match(requests[1]?.range ?? '', /^bytes=[1-9]\d*-$/);
    });
  }
}

test('a range that begins elsewhere is refused', { skip }, async () => {
  rig.registry.when(rig.layers[1]!, rig.partOf(1, 0.9, hangUp), 1);
  rig.registry.when(rig.layers[1]!, status(206, { 'content-range': 'bytes 7-8/9' }, 'xx'));
  await rig.refused('good', 'REGISTRY_ANSWER_INVALID', { layer: 1 });
});
test('a blob that the disk has lost the end of is fetched again', { skip }, async () => {
  const pulled = await rig.service.pull(`${rig.name}:good`);
  const { digest } = rig.image.manifest.layers[1]!;
  const path = join(rig.service.root, 'image/content/blobs/sha256', digest.slice('sha256:'.length));
  truncateSync(path, 1000);
  rig.registry.reset();
  assert.equal((await rig.service.pull(`${rig.name}:good`)).image.imageId, pulled.image.imageId);
  assert.equal(rig.registry.asked.filter(({ path: asked }) => asked.includes('/blobs/')).length, 1);
  assert.deepEqual(readFileSync(path), rig.image.layers[1]);
});
