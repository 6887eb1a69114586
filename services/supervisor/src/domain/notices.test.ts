import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { test } from 'node:test';
import { aConfig } from '../testing/builders.ts';
import { FakeWorld } from '../testing/fake-world.ts';
import { announceAttach, announceDetach } from './attachments.ts';
import { createContainer } from './create-container.ts';
import { reportOom } from './report-oom.ts';
import { startContainer } from './start-container.ts';

async function running(world: FakeWorld) {
  const engine = world.engine();
  const { containerId } = await createContainer(engine, {
    config: aConfig(),
    name: 'one',
    idempotencyKey: '',
    bytes: Buffer.from('one'),
  });
  await startContainer(engine, containerId);
  world.events.length = 0;
  return { engine, containerId };
}

test('each kill for want of memory is told once, however often it is reported, and not again at the exit', async () => {
  using world = new FakeWorld();
  const { engine, containerId } = await running(world);
  for (const count of [1, 1, 3, 2]) await reportOom(engine, containerId, 1, count);
  assert.deepEqual(world.actions(), ['oom', 'oom', 'oom']);
  assert.equal(engine.repository.get(containerId)?.oomKilled, true);
  await reportOom(engine, containerId, 2, 9);
  await reportOom(engine, 'another', 1, 9);
  await world.end(containerId, 137, engine, true);
  await reportOom(engine, containerId, 1, 4);
  assert.deepEqual(world.actions(), ['oom', 'oom', 'oom', 'die']);
  assert.equal(engine.repository.get(containerId)?.oomKilled, true);
});

test('one that only the exit tells of is told there, and the next run begins without', async () => {
  using world = new FakeWorld();
  const { engine, containerId } = await running(world);
  await world.end(containerId, 137, engine, true);
  assert.deepEqual(world.actions(), ['oom', 'die']);
  await startContainer(engine, containerId);
  assert.equal(engine.repository.get(containerId)?.oomKilled, false);
  await reportOom(engine, containerId, 2, 1);
  assert.deepEqual(world.actions(), ['oom', 'die', 'start', 'oom']);
});

test('attaching and detaching are announced under the id that the api gives', async () => {
  using world = new FakeWorld();
  const { engine, containerId } = await running(world);
  const [attached, left, leftExec] = [randomUUID(), randomUUID(), randomUUID()];
  announceAttach(engine, containerId, { attachmentId: attached, reportsEnd: false, resumes: false });
  announceDetach(engine, { containerId, execId: '', eventId: left });
  announceDetach(engine, { containerId, execId: 'e1', eventId: leftExec });
  announceDetach(engine, { containerId: 'gone', execId: '', eventId: randomUUID() });
  assert.deepEqual(
    world.events.map(({ action, eventId, attributes }) => [action, eventId, attributes.execID]),
    [
      ['attach', attached, undefined],
      ['detach', left, undefined],
      ['exec_detach', leftExec, 'e1'],
    ],
  );
  for (const eventId of ['', 'x', `${left}x`]) {
    assert.throws(() => announceDetach(engine, { containerId, execId: '', eventId }), { reason: 'INVALID_FIELD' });
    assert.throws(
      () => announceAttach(engine, containerId, { attachmentId: eventId, reportsEnd: true, resumes: false }),
      {
        reason: 'INVALID_FIELD',
      },
    );
  }
});
