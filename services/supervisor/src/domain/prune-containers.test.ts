import assert from 'node:assert/strict';
import { test } from 'node:test';
import { aConfig } from '../testing/builders.ts';
import { FakeWorld } from '../testing/fake-world.ts';
import { create, never, nothingIsLeft } from '../testing/lifecycle.ts';
import { type PruneRequest, pruneContainers } from './prune-containers.ts';
import { removeContainer } from './remove-container.ts';
import { startContainer } from './start-container.ts';

test('containers that do not run go, of those that are meant; one that runs stays', async () => {
  using world = new FakeWorld();
  const engine = world.engine();
  const prune = (request: Partial<PruneRequest>) =>
    pruneContainers(engine, { labels: [], labelsNot: [], ...request }, never);
  const one = await create(engine, 'one', aConfig({ labels: { keep: 'no' } }));
  const two = await create(engine, 'two', aConfig({ labels: { keep: 'yes' } }));
  const three = await create(engine, 'three');
  const running = await create(engine, 'running');
  await startContainer(engine, 'running');
  const earlier = one.createdAtUnixNano - 1n;
  assert.deepEqual(await prune({ untilUnixNano: earlier }), { containerIds: [], bytes: 0 });
  assert.deepEqual(await prune({ labels: ['keep=no'] }), { containerIds: [one.containerId], bytes: 1000 });
  assert.deepEqual((await prune({ labelsNot: ['keep=yes'] })).containerIds, [three.containerId]);
  assert.deepEqual((await prune({})).containerIds, [two.containerId]);
  assert.deepEqual(
    [...engine.repository.all()].map(({ containerId }) => containerId),
    [running.containerId],
  );
  await removeContainer(engine, 'running', { force: true, removeVolumes: true });
  nothingIsLeft(world);
});
