import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { aConfig } from '../testing/builders.ts';
import { FakeWorld } from '../testing/fake-world.ts';
import type { ContainerRecord } from './container.ts';
import { createContainer } from './create-container.ts';
import type { Engine } from './engine.ts';
import type { Observer, Usage } from './observation.ts';
import { removeContainer } from './remove-container.ts';
import { startContainer } from './start-container.ts';
import { StatsSampler } from './stats-sampler.ts';

/** Counts how often each container is read; each reading has used a millisecond more. */
class CountingObserver implements Observer {
  readonly readings = new Map<string, number>();

  pids(): readonly number[] {
    return [];
  }

  async ps(): Promise<string> {
    return '';
  }

  host() {
    return { cpuNanos: 1_000_000, onlineCpus: 2, memoryBytes: 1 << 30 };
  }

  usage({ name }: ContainerRecord): Usage {
    const count = (this.readings.get(name) ?? 0) + 1;
    this.readings.set(name, count);
    const none = { userNanos: 0, kernelNanos: 0, perCpuNanos: [], periods: 0, throttledPeriods: 0, throttledNanos: 0 };
    return { cpu: { ...none, usageNanos: count * 1_000_000 }, links: [], blockDevices: [] };
  }
}

const intervalMs = 20;
const never = new AbortController().signal;

async function running(engine: Engine, ...names: readonly string[]): Promise<void> {
  for (const name of names) {
    await createContainer(engine, { config: aConfig(), name, idempotencyKey: '', bytes: Buffer.from(name) });
    await startContainer(engine, name);
  }
}

function rig(engine: Engine) {
  const observer = new CountingObserver();
  return { observer, sampler: new StatsSampler(engine, observer, intervalMs) };
}

test('one sample at once has none before it; a single one has; each container once', async () => {
  using world = new FakeWorld();
  const engine = world.engine();
  await running(engine, 'one', 'two');
  const { sampler, observer } = rig(engine);
  const once = await Array.fromAsync(sampler.samples({ containers: [], all: false, mode: 'once' }, never));
  assert.deepEqual(
    once.map(({ record, previous }) => [record.name, previous]),
    [
      ['one', undefined],
      ['two', undefined],
    ],
  );
  const single = await Array.fromAsync(sampler.samples({ containers: ['two'], all: false, mode: 'single' }, never));
  assert.deepEqual(
    single.map(({ record }) => record.name),
    ['two'],
  );
  assert.equal(single[0]?.usage?.cpu?.usageNanos, 1_000_000 + (single[0]?.previous?.cpu.usageNanos ?? 0));
  assert.equal(observer.readings.get('one'), 1, 'who is not asked for is not read');
});

test('many listeners share one reading, and nothing is read once they are gone', async () => {
  using world = new FakeWorld();
  const engine = world.engine();
  await running(engine, 'one');
  const { sampler, observer } = rig(engine);
  const wish = { containers: [], all: false, mode: 'stream' } as const;
  const listen = async () => {
    const seen: number[] = [];
    for await (const { usage } of sampler.samples(wish, never)) {
      seen.push(usage?.cpu?.usageNanos ?? 0);
      if (seen.length === 4) return seen;
    }
    return [];
  };
  const [first, ...others] = await Promise.all([listen(), listen(), listen()]);
  assert.deepEqual(first, [2_000_000, 3_000_000, 4_000_000, 5_000_000]);
  for (const other of others) assert.deepEqual(other, first);
  const readings = observer.readings.get('one');
  await sleep(5 * intervalMs);
  assert.equal(observer.readings.get('one'), readings);
});

test('containers come and go; what does not run is told of when asked for, and the last one ends the stream', async () => {
  using world = new FakeWorld();
  const engine = world.engine();
  await running(engine, 'one');
  await createContainer(engine, { config: aConfig(), name: 'idle', idempotencyKey: '', bytes: Buffer.from('idle') });
  const { sampler } = rig(engine);
  const stop = new AbortController();
  const heard = new Set<string>();
  const all = (async () => {
    for await (const { record, usage } of sampler.samples({ containers: [], all: true, mode: 'stream' }, stop.signal)) {
      heard.add(`${record.name} ${usage === undefined ? 'idle' : 'running'}`);
      if (heard.size === 2) await running(engine, 'later').catch(() => undefined); // there already from the second time on
      if (heard.size === 3) stop.abort();
    }
  })();
  await all;
  assert.deepEqual([...heard].sort(), ['idle idle', 'later running', 'one running']);
  let last = 0;
  for await (const _ of sampler.samples({ containers: ['one'], all: false, mode: 'stream' }, never)) {
    if (++last === 1) await removeContainer(engine, 'one', { force: true, removeVolumes: false });
  }
  assert.throws(() => engine.repository.find('one'), { reason: 'CONTAINER_NOT_FOUND' });
  const unknown = sampler.samples({ containers: ['one'], all: false, mode: 'stream' }, never);
  await assert.rejects(unknown.next(), { reason: 'CONTAINER_NOT_FOUND' });
});
