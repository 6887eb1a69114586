import assert from 'node:assert/strict';
import { test } from 'node:test';
import { aConfig, anImage } from '../testing/builders.ts';
import { FakeWorld } from '../testing/fake-world.ts';
import { create } from '../testing/lifecycle.ts';
import { removeContainer } from './remove-container.ts';
import { startContainer } from './start-container.ts';
import { stopContainer } from './stop-container.ts';
import { sweep } from './sweep.ts';
import { parseVolumesFrom } from './validation/volumes-from.ts';

const bind = { type: 'MOUNT_TYPE_BIND', source: '/srv', target: '/bound' } as const;
const volume = { type: 'MOUNT_TYPE_VOLUME', source: 'data', target: '/data', readOnly: true } as const;
const memory = { type: 'MOUNT_TYPE_TMPFS', target: '/memory' } as const;
const anyStop = { signal: '', timeoutSeconds: 0 };

test('volumes_from is a container and, perhaps, how it is mounted', () => {
  assert.deepEqual(parseVolumesFrom('one', 'f'), { container: 'one', readOnly: false });
  assert.deepEqual(parseVolumesFrom('one:ro,z', 'f'), { container: 'one', readOnly: true });
  for (const text of ['', ':ro', 'one:', 'one:rx', 'one:ro,rw', 'one:z,z']) {
    assert.throws(() => parseVolumesFrom(text, 'f'), { reason: 'INVALID_FIELD' }, text);
  }
});

test('binds and volumes are shared, anonymous ones too, tmpfs not; an own mount on the path wins', async () => {
  using world = new FakeWorld();
  world.image = anImage({ cmd: ['sh'], volumes: ['/anonymous'] });
  const engine = world.engine();
  await create(engine, 'one', aConfig({ mounts: [bind, volume, memory] }));
  const own = { ...bind, source: '/mine' };
  const { containerId } = await create(engine, 'two', aConfig({ volumesFrom: ['one'], mounts: [own] }));
  const seen = engine.repository.get(containerId)!.made!.mounts.map(({ target, source, readOnly, noCopy }) => ({
    ...{ target, source, readOnly, noCopy },
  }));
  assert.deepEqual(seen, [
    { target: '/bound', source: '/mine', readOnly: false, noCopy: false },
    { target: '/data', source: 'data', readOnly: true, noCopy: true },
    { target: '/anonymous', source: 'anonymous-1', readOnly: false, noCopy: true },
  ]);
  await assert.rejects(create(engine, 'three', aConfig({ volumesFrom: ['none'] })), { reason: 'CONTAINER_NOT_FOUND' });
});

test('read-only sharing makes all of it read-only', async () => {
  using world = new FakeWorld();
  const engine = world.engine();
  await create(engine, 'one', aConfig({ mounts: [bind] }));
  const { containerId } = await create(engine, 'two', aConfig({ volumesFrom: ['one:ro'] }));
  assert.equal(engine.repository.get(containerId)?.made?.mounts[0]?.readOnly, true);
});

test('volumes are mounted while a container runs, and those of one that does not are found at start', async () => {
  using world = new FakeWorld();
  const engine = world.engine();
  const { containerId } = await create(engine, 'one', aConfig({ mounts: [bind, volume] }));
  assert.equal(world.mountedVolumes.size, 0);
  await startContainer(engine, 'one');
  const mounted = { name: 'data', target: '/data', readOnly: true, propagation: '' };
  assert.deepEqual(world.mountedVolumes.get(containerId), [mounted]);
  world.mountedVolumes.set('gone', []);
  await sweep(engine);
  assert.deepEqual([...world.mountedVolumes.keys()], [containerId], 'of the one that runs they stay');
  await stopContainer(engine, 'one', anyStop);
  while (engine.queue.size > 0) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.equal(world.mountedVolumes.size, 0);
  await removeContainer(engine, 'one', { force: false, removeVolumes: false });
});

test('a start whose volumes cannot be mounted is undone', async () => {
  using world = new FakeWorld();
  const engine = world.engine();
  const { containerId } = await create(engine, 'one', aConfig({ mounts: [volume] }));
  world.failing.set('mountVolumes', new Error('no such device'));
  await assert.rejects(startContainer(engine, 'one'), /no such device/);
  assert.equal(engine.repository.get(containerId)?.state, 'created');
  assert.deepEqual([world.mountedVolumes.size, world.sandboxes.size], [0, 0]);
});
