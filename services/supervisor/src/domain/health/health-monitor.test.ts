import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { FlotillaError } from '@flotilla/errors';
import { aConfig } from '../../testing/builders.ts';
import { FakeWorld } from '../../testing/fake-world.ts';
import { createContainer } from '../create-container.ts';
import type { Engine } from '../engine.ts';
import { pauseContainer, unpauseContainer } from '../pause-container.ts';
import { removeContainer } from '../remove-container.ts';
import { startContainer } from '../start-container.ts';
import type { Health } from './health.ts';
import { HealthMonitor } from './health-monitor.ts';

const second = 1_000_000_000n;
const healthcheck = { test: ['CMD', 'probe'], intervalNanos: 10n * second, timeoutNanos: 5n * second, retries: 2 };

/** An engine with a monitor, and a clock that stands still but for `pass`. */
class Rig implements Disposable {
  readonly world = new FakeWorld();
  readonly #context: TestContext;
  #monitor: HealthMonitor | undefined;
  engine!: Engine;

  constructor(context: TestContext) {
    this.#context = context;
    context.mock.timers.enable({ apis: ['setTimeout'] });
    this.restart();
  }

  /** Another process takes the place of the one before. */
  restart(random = 0): void {
    this.#monitor?.[Symbol.dispose]();
    this.engine = this.world.engine();
    this.#monitor = new HealthMonitor(this.engine, () => random);
    this.#monitor.start();
  }

  async run(name: string): Promise<string> {
    const { containerId } = await createContainer(this.engine, {
      config: aConfig({ healthcheck }),
      name,
      idempotencyKey: '',
      bytes: Buffer.from(name),
    });
    await startContainer(this.engine, containerId);
    return containerId;
  }

  async pass(milliseconds: number): Promise<void> {
    this.world.clock += BigInt(milliseconds) * 1_000_000n;
    this.#context.mock.timers.tick(milliseconds);
    await this.settle();
  }

  async settle(): Promise<void> {
    for (let i = 0; i < 50; i++) await new Promise((resolve) => setImmediate(resolve));
  }

  health(containerId: string): Health | undefined {
    return this.engine.repository.get(containerId)?.health;
  }

  /** How many checks were begun. */
  get begun(): number {
    return this.world.actions().filter((action) => action === 'exec_create: probe').length;
  }

  get told(): string[] {
    return this.world.actions().filter((action) => action.startsWith('health_status'));
  }

  [Symbol.dispose](): void {
    this.#monitor?.[Symbol.dispose]();
    this.world[Symbol.dispose]();
  }
}

test('a run is checked at its interval; each change of its health is told once, between the events of the checks', async (t) => {
  using rig = new Rig(t);
  const id = await rig.run('one');
  assert.deepEqual(rig.health(id), { status: 'starting', failingStreak: 0, probes: [] });
  await rig.pass(9_999);
  assert.equal(rig.begun, 0);
  rig.world.probe.output = 'fine';
  await rig.pass(1);
  assert.equal(rig.health(id)?.status, 'healthy');
  assert.equal(rig.health(id)?.probes[0]?.output, 'fine');
  const check = ['exec_create: probe', 'exec_start: probe', 'exec_die'];
  assert.deepEqual(rig.world.actions(), ['create', 'start', ...check, 'health_status: healthy']);
  rig.world.probe.exitCode = 4;
  for (const status of ['healthy', 'unhealthy', 'unhealthy']) {
    await rig.pass(10_000);
    assert.equal(rig.health(id)?.status, status);
  }
  assert.equal(rig.health(id)?.failingStreak, 3);
  rig.world.probe.exitCode = 0;
  await rig.pass(10_000);
  assert.deepEqual(rig.told, ['health_status: healthy', 'health_status: unhealthy', 'health_status: healthy']);
  assert.deepEqual(rig.engine.repository.execsOf(id), [], 'checks that have ended are forgotten');
});

test('a check that overruns its time is killed and has failed, and only then the next one is due', async (t) => {
  using rig = new Rig(t);
  const id = await rig.run('one');
  rig.world.probe = { exitCode: 0, output: 'half', takes: 'for ever' };
  await rig.pass(10_000);
  await rig.pass(4_999);
  assert.deepEqual(rig.health(id)?.probes, []);
  await rig.pass(1);
  const [probe] = rig.health(id)?.probes ?? [];
  assert.equal(probe?.exitCode, -1);
  assert.equal(probe?.output, 'Health check exceeded timeout (5s): half');
  assert.equal(rig.world.killedExecs.size, 1);
  const die = rig.world.events.find(({ action }) => action === 'exec_die');
  assert.equal(die?.attributes.exitCode, '137');
  await rig.pass(9_999);
  assert.equal(rig.begun, 1);
  await rig.pass(1);
  assert.equal(rig.begun, 2);
});

test('a check whose shim is replaced meanwhile is started by the next one, or repeated, and does not count', async (t) => {
  using rig = new Rig(t);
  const id = await rig.run('one');
  const away = new FlotillaError('unavailable', 'replaced', { reason: 'SHIM_REPLACED' });
  rig.world.failing.set('startExec', away);
  await rig.pass(10_000);
  assert.deepEqual(rig.health(id)?.probes, [], 'it is not started yet');
  const { promise: followed, resolve: onFollow } = Promise.withResolvers<void>();
  const step = rig.world.step.bind(rig.world);
  rig.world.step = async (name) => {
    if (name === 'followExec') onFollow();
    return step(name);
  };
  rig.world.failing.delete('startExec');
  rig.world.failing.set('followExec', away);
  await followed; // in a while of the real clock, after which the next shim is asked
  await rig.settle();
  assert.deepEqual(rig.health(id)?.probes, [], 'the next shim has started it, and is replaced, too');
  rig.world.failing.delete('followExec');
  await rig.pass(1_000);
  assert.equal(rig.health(id)?.status, 'healthy');
  assert.equal(rig.begun, 2);
});

test('no check is begun, and none is announced, while the shim is gone', async (t) => {
  using rig = new Rig(t);
  const id = await rig.run('one');
  const task = rig.world.tasks.get(id)!;
  task.shimLives = false;
  for (let i = 0; i < 5; i++) await rig.pass(10_000);
  assert.deepEqual(rig.world.actions(), ['create', 'start']);
  task.shimLives = true;
  await rig.pass(1_000);
  assert.equal(rig.health(id)?.status, 'healthy');
});

test('a check that cannot be started has failed, with the reason', async (t) => {
  using rig = new Rig(t);
  const id = await rig.run('one');
  rig.world.failing.set('startExec', new FlotillaError('not_found', 'no probe here', { reason: 'COMMAND_NOT_FOUND' }));
  await rig.pass(10_000);
  assert.deepEqual(
    rig.health(id)?.probes.map(({ exitCode, output }) => [exitCode, output]),
    [[-1, 'no probe here']],
  );
});

test('nothing is checked while it is frozen, and a check under way is given up', async (t) => {
  using rig = new Rig(t);
  const id = await rig.run('one');
  rig.world.probe.takes = 'for ever';
  await rig.pass(10_000);
  await pauseContainer(rig.engine, id);
  await rig.settle();
  assert.equal(rig.world.killedExecs.size, 1);
  rig.world.probe.takes = 'no time';
  await rig.pass(60_000);
  assert.equal(rig.begun, 1);
  assert.deepEqual(rig.health(id), { status: 'starting', failingStreak: 0, probes: [] });
  await unpauseContainer(rig.engine, id);
  await rig.pass(10_000);
  assert.equal(rig.health(id)?.status, 'healthy');
});

test('health ends with the run and begins anew with the next', async (t) => {
  using rig = new Rig(t);
  const id = await rig.run('one');
  await rig.pass(10_000);
  await rig.world.end(id, 0, rig.engine);
  await rig.settle();
  assert.equal(rig.health(id)?.status, 'unhealthy');
  assert.deepEqual(rig.told, ['health_status: healthy'], 'an end is no event of health');
  await rig.pass(60_000);
  assert.equal(rig.begun, 1);
  await startContainer(rig.engine, id);
  assert.deepEqual(rig.health(id), { status: 'starting', failingStreak: 0, probes: [] });
  await rig.pass(10_000);
  assert.equal(rig.begun, 2);
  await removeContainer(rig.engine, id, { force: true, removeVolumes: false });
  await rig.pass(60_000);
  assert.equal(rig.begun, 2);
});

test('another supervisor goes on with the schedule and the streak', async (t) => {
  using rig = new Rig(t);
  const id = await rig.run('one');
  rig.world.probe.exitCode = 1;
  await rig.pass(10_000);
  await rig.pass(6_000);
  rig.restart();
  await rig.pass(3_990);
  assert.equal(rig.health(id)?.failingStreak, 1);
  await rig.pass(10);
  assert.equal(rig.health(id)?.status, 'unhealthy');
  assert.deepEqual(rig.told, ['health_status: unhealthy']);
});

test('another supervisor ends the check that was under way', async (t) => {
  using rig = new Rig(t);
  const id = await rig.run('one');
  rig.world.probe.takes = 'for ever';
  await rig.pass(10_000);
  rig.restart();
  await rig.settle();
  assert.equal(rig.world.killedExecs.size, 1);
  assert.deepEqual(rig.health(id)?.probes, []);
});

test('checks that came due while nobody was there are one each, spread over time, few at once', async (t) => {
  using rig = new Rig(t);
  const ids: string[] = [];
  for (let i = 0; i < 20; i++) ids.push(await rig.run(`c${i}`));
  rig.world.clock += 3_600n * second;
  rig.restart(0.5);
  await rig.pass(4_999);
  assert.equal(rig.begun, 0, 'half of the interval is their share of chance here');
  const { promise, resolve } = Promise.withResolvers<void>();
  rig.world.held.set('startExec', promise);
  rig.world.probe.takes = 'for ever';
  await rig.pass(1);
  assert.equal(rig.begun, 8, 'so many are started at once');
  resolve();
  for (let i = 0; i < 5; i++) await rig.settle();
  assert.equal(rig.begun, ids.length, 'one each');
});
