import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FlotillaError } from '@flotilla/errors';
import { aConfig, anImage } from '../testing/builders.ts';
import { FakeWorld } from '../testing/fake-world.ts';
import { anyStop, create, never, settle } from '../testing/lifecycle.ts';
import { commitContainer } from './commit-container.ts';
import { CommitFreezes } from './commit-freezes.ts';
import type { Engine } from './engine.ts';
import { pauseContainer, unpauseContainer } from './pause-container.ts';
import { reconcile } from './reconcile.ts';
import type { SnapshotCommit, SnapshotTrees } from './snapshot-trees.ts';
import { startContainer } from './start-container.ts';
import { stopContainer } from './stop-container.ts';

const request = {
  container: 'one',
  reference: 'made:1',
  comment: 'c',
  author: 'a',
  changes: [] as string[],
  pause: true,
};

/** The image service: reads until it is told to go on, then makes an image until it is told to. */
class Reader implements SnapshotTrees {
  readonly read = Promise.withResolvers<void>();
  readonly done = Promise.withResolvers<string>();
  readonly reading = Promise.withResolvers<SnapshotCommit>();

  async *changes() {}
  async *export() {}

  async commit(wish: SnapshotCommit, onCaptured: () => void): Promise<string> {
    this.reading.resolve(wish);
    await this.read.promise;
    onCaptured();
    return this.done.promise;
  }
}

async function running(world: FakeWorld, config = aConfig()) {
  const engine = world.engine();
  const { containerId } = await create(engine, 'one', config);
  await startContainer(engine, 'one');
  const trees = new Reader();
  const freezes = new CommitFreezes(engine);
  const commit = (changes = {}) => commitContainer(engine, { trees, freezes }, { ...request, ...changes }, never);
  const state = () => engine.repository.get(containerId)?.state;
  return { engine, containerId, trees, freezes, commit, state };
}

const stateIs = async (engine: Engine, state: string) => {
  for (let i = 0; engine.repository.find('one').state !== state; i++) {
    assert.ok(i < 200, `still ${engine.repository.find('one').state}, not ${state}`);
    await settle(engine);
  }
};

test('it is frozen while its files are read, and no longer: pause, unpause, commit', async () => {
  using world = new FakeWorld();
  const { engine, trees, commit, state } = await running(world);
  const committing = commit();
  await trees.reading.promise;
  assert.equal(state(), 'paused');
  trees.read.resolve();
  await stateIs(engine, 'running');
  trees.done.resolve('sha256:2');
  assert.equal(await committing, 'sha256:2');
  assert.deepEqual(world.actions().slice(2), ['pause', 'unpause', 'commit']);
  const { attributes } = world.events.at(-1)!;
  assert.deepEqual([attributes.imageID, attributes.imageRef, attributes.comment], ['sha256:2', 'made:1', 'c']);
});

test('a commit that fails while it reads, thaws', async () => {
  using world = new FakeWorld();
  const { trees, commit, state } = await running(world);
  const committing = commit();
  await trees.reading.promise;
  trees.read.reject(new FlotillaError('unavailable', 'gone', { reason: 'SERVICE_UNAVAILABLE' }));
  await assert.rejects(committing, { reason: 'SERVICE_UNAVAILABLE' });
  assert.equal(state(), 'running');
});

for (const at of ['paused', 'pausing'] as const) {
  test(`killed while it is ${at} for a commit: the next supervisor thaws`, async () => {
    using world = new FakeWorld();
    const { containerId, commit, state } = await running(world);
    if (at === 'pausing') world.held.set('pause', new Promise(() => {}));
    void commit();
    for (let i = 0; state() !== at && i < 200; i++) await new Promise((resolve) => setTimeout(resolve, 2));
    assert.equal(state(), at);
    world.held.clear();
    if (at === 'pausing') world.tasks.get(containerId)!.state = 'paused'; // The call may have come through.
    const next = world.engine();
    const stop = new AbortController();
    reconcile(next, next.monitor, stop.signal);
    await stateIs(next, 'running');
    assert.equal(world.tasks.get(containerId)?.state, 'running');
    stop.abort();
  });
}

test('a shim that is away is asked again until the container is thawed', async () => {
  using world = new FakeWorld();
  const { engine, trees, commit, state } = await running(world);
  const committing = commit();
  await trees.reading.promise;
  world.failing.set('resume', new FlotillaError('unavailable', 'no shim', { reason: 'SERVICE_UNAVAILABLE' }));
  trees.read.resolve();
  trees.done.resolve('sha256:2');
  await settle(engine);
  assert.equal(state(), 'paused');
  world.failing.clear();
  await committing;
  assert.equal(state(), 'running');
});

test('what a user has frozen stays so; what does not run, or is not to be frozen, is not', async () => {
  using world = new FakeWorld();
  const { engine, trees, commit, state } = await running(world);
  trees.read.resolve();
  trees.done.resolve('sha256:2');
  await pauseContainer(engine, 'one');
  await commit();
  assert.equal(state(), 'paused');
  await unpauseContainer(engine, 'one');
  await commit({ pause: false });
  await stopContainer(engine, 'one', anyStop);
  await commit();
  assert.equal(world.actions().filter((action) => action === 'pause').length, 1);
  assert.equal(state(), 'exited');
});

test('two commits at once: it is thawed when neither reads any more', async () => {
  using world = new FakeWorld();
  const { engine, freezes, containerId, state } = await running(world);
  const [first, second] = await Promise.all([freezes.freeze(containerId), freezes.freeze(containerId)]);
  await first();
  await first();
  assert.equal(state(), 'paused');
  await second();
  assert.equal(state(), 'running');
  await settle(engine);
});

test('stopped while it is frozen for a commit: it stops, and the commit goes on', async () => {
  using world = new FakeWorld();
  const { engine, trees, commit, state } = await running(world);
  const committing = commit();
  await trees.reading.promise;
  await stopContainer(engine, 'one', anyStop);
  trees.read.resolve();
  trees.done.resolve('sha256:2');
  await committing;
  assert.equal(state(), 'exited');
});

test('the image inherits what the container was made with, and changes go over it', async () => {
  using world = new FakeWorld();
  world.image = anImage({
    ...{ env: ['A=1', 'B=2'], cmd: ['sh'], exposedPorts: ['80/tcp'], volumes: ['/v'], user: '1:2', workingDir: '/w' },
    ...{ labels: { i: '1' }, onBuild: ['RUN x'], healthcheck: { test: ['CMD', 'x'], retries: 3 } },
  });
  const config = aConfig({
    ...{ env: ['B=3', 'C=4'], command: ['run', 'it'], labels: { o: '2' }, exposedPorts: ['90/udp'] },
    mounts: [{ type: 'MOUNT_TYPE_VOLUME', target: '/anonymous' }],
    healthcheck: { intervalNanos: 5_000_000n },
  });
  const { trees, commit } = await running(world, config);
  trees.read.resolve();
  trees.done.resolve('sha256:2');
  await commit({ changes: ['ENV D=$C', 'HEALTHCHECK --retries=7 CMD y', 'USER 5'] });
  const wish = await trees.reading.promise;
  assert.deepEqual([wish.createdBy, wish.reference], ['run it', 'docker.io/library/made:1']);
  const { healthcheck, ...rest } = wish.config;
  assert.deepEqual(rest, {
    ...{ user: '5', exposedPorts: ['80/tcp', '90/udp'], env: ['A=1', 'B=3', 'C=4', 'D=4'], entrypoint: [] },
    ...{ cmd: ['run', 'it'], volumes: ['/v', '/anonymous'], workingDir: '/w', labels: { i: '1', o: '2' } },
    ...{ stopSignal: '', shell: [], onBuild: [] },
  });
  assert.deepEqual(
    [healthcheck?.test, healthcheck?.retries, healthcheck?.intervalNanos],
    [['CMD-SHELL', 'y'], 7, 5_000_000n],
  );
});

const refused: readonly (readonly [name: string, changes: object, message: RegExp])[] = [
  ['a reference with a digest', { reference: `a@sha256:${'0'.repeat(64)}` }, /^reference/],
  ['no reference', { reference: 'UPPER' }, /^reference/],
  ['an instruction', { changes: ['RUN x'] }, /^changes/],
  ['a signal', { changes: ['STOPSIGNAL foo'] }, /^changes STOPSIGNAL/],
  ['an author', { author: 'a\0' }, /^author/],
];
for (const [name, changes, message] of refused) {
  test(`refused, and not frozen: ${name}`, async () => {
    using world = new FakeWorld();
    const { commit } = await running(world);
    await assert.rejects(commit(changes), { reason: 'INVALID_FIELD', message });
    assert.ok(!world.actions().includes('pause'));
  });
}
