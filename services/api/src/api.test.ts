import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { after, beforeEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { withRequestId } from '@flotilla/log';
import { LauncherReply } from '@flotilla/proto/flotilla/launcher/v1/launcher';
import { askLauncherState } from './adapters/launcher-state.ts';
import { ApiRig } from './testing/api-rig.ts';
import { containerId } from './testing/fake-owners.ts';

const rig = await ApiRig.start();
after(() => rig[Symbol.asyncDispose]());
const { containers, images, volumes, owners } = rig;
beforeEach(() => owners.reset());

test('a call is passed on with its request id, an error comes back with its details', async () => {
  await using _server = await rig.startSupervisor();
  const { container } = await withRequestId('r-1', () => containers.getContainer({ container: containerId }));
  assert.equal(container?.name, 'r-1');
  await assert.rejects(() => containers.getContainer({ container: 'x' }), {
    code: 'not_found',
    reason: 'CONTAINER_NOT_FOUND',
    metadata: { container: 'x' },
  });
});

test('a service that is down is named, within the deadline', async () => {
  const startedAt = Date.now();
  const expected = { code: 'unavailable', reason: 'SERVICE_UNAVAILABLE', message: /image/ };
  await assert.rejects(() => volumes.getVolume({ name: 'v' }, { deadlineMs: Number.POSITIVE_INFINITY }), expected);
  assert.ok(Date.now() - startedAt < 3_000, 'the deadline of the api');
  const askedAt = Date.now();
  await assert.rejects(() => volumes.getVolume({ name: 'v' }, { deadlineMs: 150 }), { reason: 'SERVICE_UNAVAILABLE' });
  assert.ok(Date.now() - askedAt < 600, "the client's own deadline");
});

test('a stream to a service that is down is refused within the deadline', async () => {
  const chunks = async function* () {
    yield { chunk: Buffer.alloc(10) };
  };
  await assert.rejects(
    async () => {
      for await (const _ of images.loadImages(chunks(), { deadlineMs: 1_500 })) assert.fail('an answer from nobody');
    },
    { reason: 'SERVICE_UNAVAILABLE', message: /image/ },
  );
});

test('a stream of chunks reaches its owner whole, and may take longer than the deadline', async () => {
  await using _server = await rig.startImages();
  const chunks = async function* () {
    for (let index = 0; index < 10; index++) {
      yield { chunk: Buffer.alloc(1 << 20) };
      await sleep(100);
    }
  };
  const seen: bigint[] = [];
  for await (const { event } of images.loadImages(chunks())) {
    if (event?.$case === 'progress') seen.push(event.value.currentBytes);
  }
  assert.deepEqual(seen, [10n << 20n]);
});

test('a wait that says after which run is asked again when the supervisor restarts', async () => {
  let server = await rig.startSupervisor();
  owners.waitAnswers = false;
  const waiting = containers.waitContainer(
    { container: containerId, condition: 'WAIT_CONDITION_NEXT_EXIT', afterRun: 0n },
    { deadlineMs: Number.POSITIVE_INFINITY },
  );
  while (owners.afterRuns.length < 1) await sleep(5);
  await server[Symbol.asyncDispose]();
  owners.waitAnswers = true;
  server = await rig.startSupervisor();
  assert.deepEqual(await waiting, { exitCode: 7, error: '', run: 1n });
  assert.deepEqual(owners.afterRuns, [0n, 0n]);
  await server[Symbol.asyncDispose]();
});

test('the launcher is asked over its own protocol, also when its answer comes in pieces', async () => {
  const path = join(rig.folder, 'l.sock');
  mkdirSync(rig.folder, { recursive: true });
  const state = {
    forkMode: 'fork',
    forkProblem: '',
    pid: 7,
    version: '0.1.0',
    forks: 1n,
    replaced: 0n,
    shims: 2,
    replacedShims: 0n,
    orphans: 0,
    keptDescriptors: 0,
    storedDescriptors: 0,
  };
  const reply = Buffer.from(LauncherReply.encode({ reply: { $case: 'state', value: state } }).finish());
  const asked: Buffer[] = [];
  const server = createServer((socket) => {
    socket.on('data', async (data) => {
      asked.push(Buffer.from(data));
      socket.write(Buffer.from([reply.length]));
      await sleep(10);
      socket.write(reply.subarray(0, 3));
      await sleep(10);
      socket.end(reply.subarray(3));
    });
  }).listen(path);
  try {
    assert.deepEqual(await askLauncherState(path, 1_000), state);
    // Field 2 of LauncherRequest, an empty message, behind its length.
    assert.deepEqual([...Buffer.concat(asked)], [2, 0x12, 0]);
  } finally {
    server.close();
  }
  await assert.rejects(() => askLauncherState(join(rig.folder, 'none.sock'), 500), { reason: 'SERVICE_UNAVAILABLE' });
});

test('a wait ends when the api begins to stop, with a code that says come back', async () => {
  rig.stack.use(await rig.startSupervisor());
  owners.waitAnswers = false;
  const waiting = containers.waitContainer(
    { container: containerId, condition: 'WAIT_CONDITION_NOT_RUNNING' },
    { deadlineMs: Number.POSITIVE_INFINITY },
  );
  const refused = assert.rejects(waiting, { code: 'unavailable', reason: 'SERVICE_STOPPING' });
  while (owners.afterRuns.length < 1) await sleep(5);
  rig.stopping.abort();
  await refused;
});
