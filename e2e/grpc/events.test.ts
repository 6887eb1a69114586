import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { demoImage, Engine } from '../harness/engine.ts';
import { actionsOf, ConsumerProcess, storedEvents } from '../harness/events.ts';
import { waitFor } from '../harness/wait.ts';

let engine: Engine;
before(async () => {
  engine = await Engine.start();
});
after(() => engine[Symbol.asyncDispose]());

test('a consumer that was stopped goes on behind the last event it saw', async () => {
  const first = new ConsumerProcess(engine);
  await engine.ok('run', '--name', 'early', demoImage, 'true');
  await waitFor('the consumer sees the first exit', () => first.seen.some(({ action }) => action === 'die'));
  await first.kill();
  const last = first.seen.at(-1)?.sequence;
  assert.ok(last !== undefined);

  await engine.ok('run', '--name', 'unseen', demoImage, 'true');
  const second = new ConsumerProcess(engine, last);
  await engine.ok('rm', 'early', 'unseen');
  const all = await waitFor('both containers are gone', async () => {
    const events = await storedEvents(engine);
    return events.filter(({ action }) => action === 'destroy').length >= 3 ? events : undefined; // with `up`'s own
  });
  await waitFor('the consumer has caught up', () => second.seen.at(-1)?.sequence === all.at(-1)?.sequence);
  await second.kill();
  assert.deepEqual([...first.seen, ...second.seen], all);
});

test('what a container goes through is told once each, in order', async () => {
  const id = await engine.ok('create', demoImage, 'sh', '-c', 'exit 3');
  await engine.ok('start', id);
  assert.equal(await engine.ok('wait', id), '3');
  await engine.ok('rm', id);
  assert.deepEqual(await actionsOf(engine, id, 'destroy'), ['create', 'start', 'die', 'destroy']);
});

test('the api streams the same events', async () => {
  const stored = await storedEvents(engine);
  const printed = await engine.ok('events', '--since', '0', '--until', String(Date.now() / 1000), '--format', 'json');
  const actions = printed.split('\n').map((line) => (JSON.parse(line) as { action: string }).action);
  assert.deepEqual(
    actions,
    stored.map(({ action }) => action),
  );
});
