import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FlotillaError } from '@flotilla/errors';
import { Resources } from '@flotilla/proto/flotilla/v1/container';
import { aConfig } from '../testing/builders.ts';
import { FakeWorld } from '../testing/fake-world.ts';
import { createContainer } from './create-container.ts';
import type { Engine } from './engine.ts';
import { startContainer } from './start-container.ts';
import { updateContainer } from './update-container.ts';

const mib = 1n << 20n;
type Limits = Partial<Resources>;

function create(engine: Engine, config: Parameters<typeof aConfig>[0]) {
  return createContainer(engine, {
    ...{ config: aConfig(config), name: 'one', idempotencyKey: '', bytes: Buffer.alloc(0) },
  });
}

const limits = (changes: Limits) => ({ resources: Resources.fromPartial(changes), restartPolicy: undefined });
const policy = (name: string, maximumRetries = 0) => ({
  resources: undefined,
  restartPolicy: { name, maximumRetries },
});

const merges: readonly (readonly [before: Limits, change: Limits, after: Limits])[] = [
  [{ memoryBytes: 100n * mib }, { memoryBytes: 150n * mib }, { memoryBytes: 150n * mib, memorySwapBytes: 200n * mib }],
  [{ memoryBytes: 100n * mib }, { memoryBytes: 300n * mib, memorySwapBytes: -1n }, { memorySwapBytes: -1n }],
  [{}, { memoryBytes: 64n * mib }, { memoryBytes: 64n * mib, memorySwapBytes: 0n }],
  [{ memoryBytes: 64n * mib, memorySwapBytes: -1n }, { memoryBytes: 99n * mib }, { memorySwapBytes: -1n }],
  [{ pidsLimit: 10n, cpuShares: 512n }, { pidsLimit: -1n }, { pidsLimit: -1n, cpuShares: 512n }],
  [{ nanoCpus: 500_000_000n }, { nanoCpus: 250_000_000n }, { nanoCpus: 250_000_000n }],
  [{ cpusetCpus: '0' }, { cpusetCpus: '0-1' }, { cpusetCpus: '0-1' }],
];
for (const [before, change, after] of merges) {
  test(`${show(before)} with ${show(change)} is ${show(after)}`, async () => {
    using world = new FakeWorld();
    const engine = world.engine();
    await create(engine, { resources: before });
    await updateContainer(engine, 'one', limits(change));
    const { resources } = world.engine().repository.find('one').config;
    assert.deepEqual(resources, { ...resources, ...after });
    assert.deepEqual(world.actions(), ['create', 'update']);
  });
}

const refusals: readonly (readonly [before: Limits, change: Limits, field: string])[] = [
  [{ memoryBytes: 100n * mib }, { memoryBytes: 300n * mib }, 'resources.memory_bytes'],
  [{}, { memoryBytes: 1n }, 'resources.memory_bytes'],
  [{}, { memorySwapBytes: 100n * mib }, 'resources.memory_swap_bytes'],
  [{ memoryBytes: 100n * mib }, { memoryReservationBytes: 101n * mib }, 'resources.memory_reservation_bytes'],
  [{ nanoCpus: 500_000_000n }, { cpuQuota: 50_000n }, 'resources.nano_cpus'],
  [{}, { cpusetCpus: '77' }, 'resources.cpuset_cpus'],
  [{}, { oomKillDisable: true }, 'resources.oom_kill_disable'],
];
for (const [before, change, field] of refusals) {
  test(`${show(before)} with ${show(change)} is refused, naming ${field}`, async () => {
    using world = new FakeWorld();
    const engine = world.engine();
    await create(engine, { resources: before });
    const { config } = engine.repository.find('one');
    await assert.rejects(updateContainer(engine, 'one', limits(change)), (error: FlotillaError) => {
      assert.deepEqual([error.reason, error.metadata.field], ['INVALID_FIELD', field]);
      return true;
    });
    assert.equal(engine.repository.find('one').config, config);
    assert.deepEqual(world.actions(), ['create']);
  });
}

test('of a container that runs what was changed is written to the kernel, and nothing else', async () => {
  using world = new FakeWorld();
  const engine = world.engine();
  const { containerId } = await create(engine, { resources: { memoryBytes: 64n * mib, pidsLimit: 9n } });
  await updateContainer(engine, 'one', limits({ pidsLimit: 8n }));
  assert.equal(world.limits.size, 0, 'it does not run yet');
  await startContainer(engine, 'one');
  await updateContainer(engine, 'one', limits({ pidsLimit: 7n, cpuShares: 100n }));
  assert.deepEqual(world.limits.get(containerId), { cpu: { shares: 100 }, pids: { limit: 7 } });
  await updateContainer(engine, 'one', limits({ memoryBytes: 96n * mib }));
  assert.deepEqual(world.limits.get(containerId), { memory: { limit: 96 << 20, swap: 128 << 20 } });
});

test('what the kernel refuses is not recorded', async () => {
  using world = new FakeWorld();
  const engine = world.engine();
  await create(engine, {});
  await startContainer(engine, 'one');
  world.failing.set('limit', new FlotillaError('invalid_argument', 'busy', { reason: 'RESOURCE_LIMIT_INVALID' }));
  await assert.rejects(updateContainer(engine, 'one', limits({ memoryBytes: 6n * mib })), {
    reason: 'RESOURCE_LIMIT_INVALID',
  });
  assert.equal(engine.repository.find('one').config.resources, undefined);
  assert.deepEqual(world.actions(), ['create', 'start']);
});

test('a policy is changed; a container that waits goes on waiting only if the new one wants that', async () => {
  using world = new FakeWorld();
  const engine = world.engine();
  const { containerId } = await create(engine, {});
  await assert.rejects(updateContainer(engine, 'one', policy('sometimes')), { reason: 'INVALID_FIELD' });
  await assert.rejects(updateContainer(engine, 'one', policy('')), { reason: 'INVALID_FIELD' });
  await updateContainer(engine, 'one', policy('on-failure', 1));
  await startContainer(engine, 'one');
  await world.end(containerId, 1, engine);
  await updateContainer(engine, 'one', policy('always'));
  const waiting = engine.repository.find('one').restarts;
  assert.deepEqual([waiting.count, waiting.pending !== undefined], [1, true]);
  await updateContainer(engine, 'one', policy('no'));
  assert.equal(engine.repository.find('one').restarts.pending, undefined);
});

test('one that is removed when it exits takes no policy', async () => {
  using world = new FakeWorld();
  const engine = world.engine();
  await create(engine, { autoRemove: true });
  await assert.rejects(updateContainer(engine, 'one', policy('always')), { reason: 'INVALID_FIELD' });
  await updateContainer(engine, 'one', policy('no'));
});

function show(value: Limits): string {
  return JSON.stringify(value, (_, part: unknown) => (typeof part === 'bigint' ? Number(part) : part));
}
