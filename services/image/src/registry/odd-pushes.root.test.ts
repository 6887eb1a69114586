import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { sha256Digest } from '@flotilla/oci';
import type { Behaviour } from './testing/odd-registry.ts';
import { html, OddRig, redirect, skip, status } from './testing/odd-rig.ts';
import { instead, TestUploads } from './testing/test-uploads.ts';

// The real service pushes to a registry that does everything wrong.
let rig: OddRig;
let uploads: TestUploads;
let name: string;
before(async () => {
  if (skip === false) rig = await OddRig.start();
});
after(() => rig?.[Symbol.asyncDispose]());
beforeEach(async () => {
  if (skip !== false) return;
  uploads = new TestUploads();
  name = `${rig.registry.host}/push/app:1`;
  await rig.service.pull(`${rig.name}:good`);
  await rig.service.images.tagImage({ image: `${rig.name}:good`, reference: name });
  // Without its name by digest nobody knows that the registry has its blobs elsewhere.
  await rig.service.images.removeImage({ image: `${rig.name}:good`, force: false });
});
afterEach(() => rig?.reset());

const odd = (method: string, behaviour: Behaviour, times = Number.POSITIVE_INFINITY) =>
  rig.registry.when(/^\/v2\/push\//, instead(method, uploads, behaviour, times));
const well = () => rig.registry.when(/^\/v2\/push\//, uploads.serve);

async function succeeds() {
  const pushed = await rig.service.push(name);
  const manifest = uploads.manifests.get('1');
  assert.ok(manifest !== undefined);
  assert.equal(sha256Digest(manifest.body), pushed.digest);
  assert.deepEqual(JSON.parse(manifest.body.toString()), rig.image.manifest);
  for (const layer of rig.image.layers) assert.ok(uploads.blobs.get(sha256Digest(layer))?.equals(layer));
  assert.equal(uploads.blobs.size, 4);
  return pushed;
}

async function fails(reason: string, message = /./): Promise<Record<string, string>> {
  let metadata: Record<string, string> = {};
  await assert.rejects(
    rig.service.push(name),
    (error: Error & { reason: string; metadata: Record<string, string> }) => {
      assert.equal(error.reason, reason, error.message);
      assert.equal(error.metadata.image, name);
      assert.match(error.message, message);
      ({ metadata } = error);
      return true;
    },
  );
  assert.equal(uploads.manifests.size, 0, 'no manifest without its blobs');
  return metadata;
}

test('what is there is not sent again; the manifest is the one that was pulled', { skip }, async () => {
  well();
  const { progress } = await succeeds();
  assert.equal(uploads.uploads.size, 0);
  assert.equal(uploads.asked.filter((one) => one === 'POST blobs/uploads').length, 4);
  for (const { digest, size } of rig.image.manifest.layers) {
    const last = progress.filter(({ part }) => part === digest.slice(7, 19)).at(-1);
    assert.deepEqual([last?.status, last?.currentBytes, last?.totalBytes], ['done', BigInt(size), BigInt(size)]);
  }
  uploads.asked.length = 0;
  const again = await succeeds();
  assert.deepEqual(new Set(uploads.asked), new Set(['HEAD blobs', 'PUT manifests']));
  assert.deepEqual(new Set(again.progress.map(({ status: one }) => one)), new Set(['waiting', 'exists']));
});

test('a connection that breaks at 90 %: it goes on from there; a registry that kept nothing gets it again', {
  skip,
}, async () => {
  const atBytes = Math.floor(rig.image.layers[0]!.length * 0.9);
  uploads.drops = { times: 1, atBytes };
  well();
  await succeeds();
  const resumed = uploads.asked.filter((one) => /^PATCH .* \d+-\d+$/.test(one));
  assert.equal(resumed.length, 1, `${uploads.asked}`);
  const all = [...uploads.blobs.values()].reduce((sum, { length }) => sum + length, 0);
  assert.equal(uploads.receivedBytes, all, 'no byte was sent twice');
  uploads = new TestUploads();
  uploads.keeps = false;
  rig.registry.reset();
  uploads.drops = { times: 2, atBytes };
  well();
  await succeeds();
  assert.equal(uploads.asked.filter((one) => one === 'POST blobs/uploads').length, 6);
  uploads = new TestUploads();
  uploads.keeps = false;
  rig.registry.reset();
  uploads.drops = { times: 99, atBytes };
  well();
  await fails('REGISTRY_UNAVAILABLE');
});

test('an end of which no answer came is not sent again', { skip }, async () => {
  const lose: Behaviour = (request, response, serve) => {
    const write = response.writeHead.bind(response);
    response.writeHead = ((...all: Parameters<typeof write>) => {
      request.socket.destroy();
      return write(...all);
    }) as typeof response.writeHead;
    serve();
  };
  odd('PUT', lose, 2);
  await succeeds();
  assert.equal(uploads.asked.filter((one) => one.startsWith('PATCH')).length, 3);
});

for (const [what, method, behaviour, times] of [
  ['answers 500 to each kind of request once', '', status(500), 1],
  ['answers 429 and says when to come again', '', status(429, { 'retry-after': '0' }), 1],
  ['has forgotten an upload when it should end', 'PUT', status(404), 2],
  ['does not take a part from where it is', 'PATCH', status(416), 1],
  ['has no HEAD', 'HEAD', status(405), 99],
  ['says that it has another size than the blob', 'HEAD', status(200, { 'content-length': '1' }), 99],
] as const) {
  test(`a registry that ${what}: the push goes on`, { skip }, async () => {
    if (method !== '') odd(method, behaviour, times);
    else {
      const seen = new Set<string>();
      rig.registry.when(/^\/v2\/push\//, (request, response, serve) => {
        if (seen.has(request.method ?? '')) uploads.serve(request, response, serve);
        else {
          seen.add(request.method ?? '');
          behaviour(request, response, serve);
        }
      });
    }
    await succeeds();
  });
}

test('a registry that has taken less than was sent gets the rest', { skip }, async () => {
  odd(
    'PATCH',
    (request, response, serve) => {
      // It says 202 and has lost what came last.
      const write = response.writeHead.bind(response);
      response.writeHead = ((code: number, headers: Record<string, string>) => {
        const upload = uploads.uploads.get(/uploads\/(\d+)/.exec(request.url ?? '')?.[1] ?? '');
        if (upload !== undefined) upload.data = upload.data.subarray(0, 200_000);
        return write(code, { ...headers, range: '0-199999' });
      }) as typeof response.writeHead;
      serve();
    },
    1,
  );
  await succeeds();
});

const lie = `sha256:${'a'.repeat(64)}`;
for (const [what, method, behaviour, reason, layer] of [
  ['fails again and again', 'PATCH', status(500), 'REGISTRY_UNAVAILABLE', true],
  ['allows no more', 'POST', status(429), 'REGISTRY_RATE_LIMITED', false],
  ['denies it', 'POST', status(403, {}, '{"errors":[{"code":"DENIED"}]}'), 'REGISTRY_DENIED', false],
  ['has no room for it', 'PATCH', status(413), 'REGISTRY_REFUSED', true],
  ['is a page', 'POST', status(200, { 'content-type': 'text/html' }, html), 'REGISTRY_ANSWER_INVALID', false],
  [
    'sends a POST elsewhere as a GET',
    'POST',
    status(302, { location: '/elsewhere' }),
    'REGISTRY_ANSWER_INVALID',
    false,
  ],
  ['does not say where an upload goes', 'POST', status(202), 'REGISTRY_ANSWER_INVALID', false],
  [
    'sends an upload into a file',
    'POST',
    status(202, { location: 'file:///etc/passwd' }),
    'REGISTRY_ANSWER_INVALID',
    false,
  ],
  ['sends an upload to no address', 'POST', status(202, { location: 'http://[x' }), 'REGISTRY_ANSWER_INVALID', false],
  ['does not say where a next part goes', 'PATCH', status(202), 'REGISTRY_ANSWER_INVALID', true],
  ['says that it has something else', 'HEAD', status(200, { 'docker-content-digest': lie }), 'DIGEST_MISMATCH', false],
  [
    'says that a blob became something else',
    'PUT',
    status(201, { 'docker-content-digest': lie }),
    'DIGEST_MISMATCH',
    false,
  ],
] as const) {
  test(`a registry that ${what}: ${reason}`, { skip }, async () => {
    odd(method, behaviour);
    const metadata = await fails(reason);
    if (layer) assert.ok(rig.image.manifest.layers.some(({ digest }) => digest === metadata.layer));
  });
}

test('a manifest that is refused, or comes out as another', { skip }, async () => {
  const refuse = status(400, {}, '{"errors":[{"code":"MANIFEST_INVALID","message":"not\\nthis one"}]}');
  for (const [behaviour, reason, message] of [
    [refuse, 'REGISTRY_REFUSED', /refuses the manifest 1 \(400: MANIFEST_INVALID not this one\)/],
    [status(201, { 'docker-content-digest': lie }), 'DIGEST_MISMATCH', /manifest 1/],
  ] as const) {
    rig.registry.reset();
    rig.registry.when(/\/push\/app\/manifests\//, behaviour);
    well();
    await fails(reason, message);
  }
});

test('an upload that is to go to another host goes there, without the password', { skip }, async () => {
  const auth = { username: 'me', password: 'secret' };
  rig.other.when(/^\/v2\/push\//, uploads.serve);
  const wanted = `Basic ${Buffer.from('me:secret').toString('base64')}`;
  rig.registry.when(/^\/v2\/push\//, (request, response, serve) => {
    if (request.headers.authorization !== wanted)
      status(401, { 'www-authenticate': 'Basic realm=x' })(request, response, serve);
    else if (request.method === 'PATCH') redirect(`http://${rig.other.host}${request.url}`)(request, response, serve);
    else uploads.serve(request, response, serve);
  });
  await rig.service.push(name, { auth });
  assert.equal(rig.other.asked.length, 6, 'three parts and their ends');
  assert.ok(rig.other.asked.every(({ authorization }) => authorization === undefined));
  assert.equal(uploads.blobs.size, 4);
  await assert.rejects(rig.service.push(name, { auth: { username: 'me', password: 'no' } }), {
    reason: 'REGISTRY_UNAUTHORIZED',
  });
});

test('a blob of which it is known where it is is taken from there; where that is denied, it is sent', {
  skip,
}, async () => {
  await rig.service.pull(`${rig.name}:good`);
  for (const layer of rig.image.layers.slice(1)) uploads.mountable.set(`odd/image ${sha256Digest(layer)}`, layer);
  rig.registry.when(/mount=/, (request, response, serve) => {
    if (request.url?.includes(encodeURIComponent(sha256Digest(rig.image.layers[0]!))))
      status(403)(request, response, serve);
    else uploads.serve(request, response, serve);
  });
  well();
  const { progress } = await succeeds();
  const last = rig.image.layers.map((layer) => {
    const part = sha256Digest(layer).slice(7, 19);
    return progress.filter((one) => one.part === part).at(-1)?.status;
  });
  assert.deepEqual(last, ['done', 'mounted', 'mounted']);
});

test('a registry that takes nothing is given up; a push that is cancelled ends its upload', { skip }, async () => {
  odd('PATCH', () => {}, 3);
  await succeeds();
  uploads = new TestUploads();
  rig.registry.reset();
  const controller = new AbortController();
  odd('PATCH', () => controller.abort());
  const before = Date.now();
  await assert.rejects(rig.service.push(name, { signal: controller.signal }));
  assert.ok(Date.now() - before < 3_000);
  for (let tries = 0; uploads.uploads.size > 0 && tries < 100; tries++) await new Promise((go) => setTimeout(go, 20));
  assert.equal(uploads.uploads.size, 0, `${uploads.asked}`);
});

test('what is damaged here is not the registry’s fault; what is not here, or has a digest, is not pushed', {
  skip,
}, async () => {
  well();
  await assert.rejects(rig.service.push(`${rig.registry.host}/push/none:1`), { reason: 'IMAGE_NOT_FOUND' });
  await assert.rejects(rig.service.push(`${rig.registry.host}/push/app@${lie}`), { reason: 'INVALID_FIELD' });
  const layer = rig.image.layers[1]!;
  const path = join(rig.service.root, 'image/content/blobs/sha256', sha256Digest(layer).slice(7));
  const changed = readFileSync(path);
  changed[500] = (changed[500] ?? 0) ^ 1;
  writeFileSync(path, changed);
  const metadata = await fails('BLOB_DAMAGED');
  assert.equal(metadata.layer, sha256Digest(layer));
});
