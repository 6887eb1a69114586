import assert from 'node:assert/strict';
import { readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { CopyRig, list, tar } from './testing/copy-rig.ts';

// Copies while somebody means harm: a container, a tar, a removal or a kill in the middle.
const skip = process.env.FLOTILLA_ROOT_TESTS === '1' ? false : 'makes containers: set FLOTILLA_ROOT_TESTS=1 as root';
let rig: CopyRig;
before(async () => {
  if (skip === false) rig = await CopyRig.start();
});
after(() => rig?.[Symbol.asyncDispose]());

test('a container that swaps folders for links to its host does not come out of its root', { skip }, async () => {
  const victim = rig.makeFolder('victim');
  writeFileSync(join(victim, 'secret'), 'of the host');
  const swap = [
    'mkdir -p /w/a/b /w/keep; ln -s / /w/evil; cd /w',
    `while :; do mv a keep/a; ln -s ${victim} a; rm a; ln -s ../../../../../../../..${victim} a; rm a; mv keep/a a;`,
    `rm -rf a/b; ln -s ${victim} a/b; rm a/b; mkdir a/b; done`,
  ].join('\n');
  const container = await rig.running({ command: ['sh', '-c', swap] });
  await rig.engine.until(
    'the folder',
    () => rig.stat(container, '/w/evil').catch(() => undefined),
    (one) => one !== undefined,
  );
  const archive = rig.oneFile('b/escaped', 'x');
  // As often as it takes for both to have got through, for the container swaps at its own pace.
  let [written, read] = [0, 0];
  const deadline = performance.now() + 30_000;
  for (let round = 0; round < 6 || written === 0 || read === 0; round++) {
    assert.ok(performance.now() < deadline, `${written} copies in and ${read} out of ${round} got through`);
    await rig.write(container, '/w/a', archive).then(
      () => written++,
      () => {},
    );
    for (const path of ['/w/a/secret', '/w/a/b/secret', '/w']) {
      const got = await rig.read(container, path).catch(() => Buffer.alloc(0));
      if (got.length > 0) read++;
      assert.ok(!got.includes('of the host'), path);
    }
  }
  assert.deepEqual(readdirSync(victim), ['secret']);
  assert.equal(readFileSync(join(victim, 'secret'), 'utf8'), 'of the host');
  await rig.remove(container);
});

test('links of a tar and of a container end in the container', { skip }, async () => {
  const victim = rig.makeFolder('victim');
  const source = rig.makeFolder('evil');
  symlinkSync(victim, join(source, 'way'));
  const first = tar('-C', source, '-cf', '-', 'way');
  const second = rig.oneFile('way/through', 'x');
  const container = await rig.running();
  await rig.write(container, '/tmp', first);
  await assert.rejects(rig.write(container, '/tmp', second)); // A link to what the container does not have.
  const climbing = tar('-P', '--transform=s,^,../../../,', '-C', source, '-cf', '-', 'way');
  await assert.rejects(rig.write(container, '/tmp', climbing), { reason: 'LAYER_ENTRY_REFUSED' });
  await assert.rejects(rig.write(container, '/proc/sys/kernel', rig.oneFile('core_pattern', 'x')), {
    reason: 'PATH_NOT_FOUND',
  });
  await assert.rejects(rig.read(container, '/proc/1/root/etc/passwd'), { reason: 'PATH_NOT_FOUND' });
  assert.deepEqual(readdirSync(victim), []);
  const all = list(await rig.read(container, '/'));
  assert.ok(all.includes('/proc/') && all.includes('/bin/busybox'));
  assert.deepEqual(
    all.filter((name) => /^\/(proc|sys|dev)\/./.test(name)),
    [],
  );
  await rig.remove(container);
});

test('a start waits for a copy under way, but not for one that nobody reads', { skip }, async () => {
  const container = await rig.create({ command: ['sleep', '1000'] });
  await rig.write(container, '/tmp', tar('-C', bigTree(), '-cf', '-', '.'));
  const begin = async () => {
    const stream = rig.engine.containers.readArchive({ container, path: '/tmp' })[Symbol.asyncIterator]();
    await stream.next();
    return stream;
  };
  const goesOn = await begin();
  const copied = (async () => {
    await sleep(500);
    while ((await goesOn.next()).done !== true);
    return performance.now();
  })();
  await rig.start(container);
  const startedAt = performance.now();
  assert.ok((await copied) <= startedAt, 'it was started in the middle of the copy');
  await rig.engine.containers.stopContainer({ container, timeoutSeconds: 0, signal: '' });
  const stuck = await begin();
  await rig.start(container);
  await assert.rejects(
    async () => {
      while ((await stuck.next()).done !== true);
    },
    { reason: 'CONTAINER_CHANGED' },
  );
  rig.assertNothingMounted();
  await rig.remove(container);
});

test('a copy that is under way ends when its container is removed', { skip }, async () => {
  const container = await rig.create();
  await rig.write(container, '/tmp', tar('-C', bigTree(), '-cf', '-', '.'));
  const stream = rig.engine.containers.readArchive({ container, path: '/tmp' })[Symbol.asyncIterator]();
  assert.ok((await stream.next()).value!.stat !== undefined);
  const removed = rig.remove(container);
  await assert.rejects(
    async () => {
      for (let part = await stream.next(); part.done !== true; part = await stream.next()) await sleep(1);
    },
    { reason: 'CONTAINER_CHANGED' },
  );
  await removed;
  rig.assertNothingMounted();
});

function bigTree(): string {
  const root = rig.makeFolder('big');
  for (let n = 0; n < 4; n++) writeFileSync(join(root, `file-${n}`), Buffer.alloc(4 << 20, n));
  return root;
}

test('an image service that is killed in the middle leaves no mount, and goes on', { skip }, async () => {
  const container = await rig.create();
  await rig.write(container, '/tmp', tar('-C', bigTree(), '-cf', '-', '.'));
  const stream = rig.engine.containers.readArchive({ container, path: '/tmp' })[Symbol.asyncIterator]();
  await stream.next();
  await rig.engine.kill('image');
  await assert.rejects(async () => {
    while ((await stream.next()).done !== true);
  });
  rig.assertNothingMounted();
  rig.engine.startService('image');
  assert.equal(list(await rig.read(container, '/tmp')).length, 5);
  await rig.remove(container);
});
