import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { after, afterEach, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { manifests, OddRig, redirect, skip, status } from './testing/odd-rig.ts';
import { putSmallImage } from './testing/small-image.ts';

let rig: OddRig;
before(async () => {
  if (skip === false) rig = await OddRig.start();
});
after(() => rig?.[Symbol.asyncDispose]());
afterEach(() => rig?.reset());

test('a password goes to the registry, not to where it sends us, nor to a mirror', { skip }, async () => {
  const auth = { username: 'me', password: 'secret' };
  const wanted = `Basic ${Buffer.from('me:secret').toString('base64')}`;
  rig.registry.when(/./, (request, response, serve) => {
    if (request.headers.authorization !== wanted)
      response.writeHead(401, { 'www-authenticate': 'Basic realm=x' }).end();
    else if (rig.layers.some((one) => one.test(request.url ?? '')))
      redirect(`http://${rig.other.host}${request.url}`)(request, response, serve);
    else serve();
  });
  for (const body of rig.image.layers) rig.other.putBlob(body);
  await rig.service.pull(`${rig.name}:good`, { auth });
  assert.equal(rig.other.asked.length, 3);
  assert.deepEqual(
    rig.other.asked.map(({ authorization }) => authorization),
    [undefined, undefined, undefined],
  );
  await rig.service.removeAll();
  rig.other.reset();
  rig.other.when(/./, status(401, { 'www-authenticate': 'Basic realm=x' }));
  await assert.rejects(rig.service.pull('mirrored.test/odd/image:good', { auth }), { reason: 'REGISTRY_UNAVAILABLE' });
  assert.ok(rig.other.asked.length > 0);
  assert.ok(rig.other.asked.every(({ authorization }) => authorization === undefined));
});

test('a mirror is asked first, and what it has need not be anywhere else', { skip }, async () => {
  await putSmallImage(rig.other, 'copy');
  const { image: pulled } = await rig.service.pull('mirrored.test/odd/image:copy');
  assert.deepEqual(pulled.references, ['mirrored.test/odd/image:copy']);
});

test('a layer that leaves its root is refused by name, with image and layer', { skip }, async () => {
  const evil = await putSmallImage(rig.registry, 'evil', { names: ['good', '../../escaped'] });
  await assert.rejects(
    rig.service.pull(`${rig.name}:evil`),
    (error: { reason: string; metadata: Record<string, string> }) => {
      assert.equal(error.reason, 'LAYER_ENTRY_REFUSED');
      assert.deepEqual([error.metadata.entry, error.metadata.image], ['../../escaped', `${rig.name}:evil`]);
      assert.equal(error.metadata.layer, evil.manifest.layers[1]?.digest);
      return true;
    },
  );
});

test('a registry that takes a question and never answers, and a proxy that does: REGISTRY_UNAVAILABLE', {
  skip,
}, async () => {
  rig.registry.when(manifests, () => {});
  assert.match(await rig.refused('good', 'REGISTRY_UNAVAILABLE'), /no byte came for 600 ms/);
  await assert.rejects(rig.service.pull('behind.proxy.test/a:1'), {
    reason: 'REGISTRY_UNAVAILABLE',
    message: /timed out after 600 ?ms|no byte came for 600 ms/,
  });
});

test('a pull that is cancelled hangs up, and leaves nothing', { skip }, async () => {
  const controller = new AbortController();
  const closed = Promise.withResolvers<void>();
  rig.registry.when(
    rig.layers[2]!,
    rig.partOf(2, 0.5, (response) => {
      response.once('close', closed.resolve);
      controller.abort();
    }),
  );
  const before = Date.now();
  await assert.rejects(rig.service.pull(`${rig.name}:good`, { signal: controller.signal }));
  await closed.promise;
  assert.ok(Date.now() - before < 5_000);
});

test('what two pulls want goes on when the one that began is cancelled', { skip }, async () => {
  const controller = new AbortController();
  const begun = Promise.withResolvers<ServerResponse>();
  rig.registry.when(rig.layers[1]!, rig.partOf(1, 0.5, begun.resolve));
  const first = rig.service.pull(`${rig.name}:good`, { signal: controller.signal });
  const response = await begun.promise;
  const second = rig.service.pull(`${rig.name}:good`);
  while (rig.registry.asked.filter(({ path }) => path.endsWith('/manifests/good')).length < 2) await sleep(10);
  await sleep(100); // the second one's config is there: it joins at once
  controller.abort();
  await assert.rejects(first);
  response.end(rig.image.layers[1]!.subarray(Math.floor(rig.image.layers[1]!.length * 0.5)));
  await once(response, 'close');
  assert.equal((await second).image.config?.cmd[0], 'sh');
  const requests = rig.registry.asked.filter(({ path }) => path.includes('/blobs/')).map(({ path }) => path);
  assert.equal(requests.length, 4);
  assert.equal(new Set(requests).size, 4);
});
