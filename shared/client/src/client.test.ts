import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FlotillaError } from '@flotilla/errors';
import { connectEngine, engineAddress } from './connect-engine.ts';
import { isLost, retryWhileUnavailable } from './retry-while-unavailable.ts';

const addresses: readonly (readonly [env: NodeJS.ProcessEnv, address: string])[] = [
  [{}, 'unix:///run/flotilla/api.sock'],
  [{ FLOTILLA_RUN: '/tmp/run/' }, 'unix:///tmp/run/api.sock'],
  [{ FLOTILLA_HOST: 'unix:///other.sock', FLOTILLA_RUN: '/tmp/run' }, 'unix:///other.sock'],
  [{ FLOTILLA_HOST: '', FLOTILLA_RUN: '' }, 'unix:///run/flotilla/api.sock'],
];
for (const [env, address] of addresses) {
  test(`the engine of ${JSON.stringify(env)} is at ${address}`, () => assert.equal(engineAddress(env), address));
}

test('an engine that is away is named, in time', async () => {
  using engine = connectEngine('unix:///nonexistent/api.sock', { deadlineMs: 150 });
  const startedAt = Date.now();
  await assert.rejects(() => engine.version.version({}), {
    reason: 'SERVICE_UNAVAILABLE',
    metadata: { service: 'api', deadlineMs: '150' },
  });
  assert.ok(Date.now() - startedAt < 2_000);
});

const away = new FlotillaError('unavailable', 'gone', { reason: 'SERVICE_UNAVAILABLE' });

test('a call is made again while the engine is away', async () => {
  let calls = 0;
  const answer = await retryWhileUnavailable(async () => {
    if (++calls < 3) throw away;
    return 'here';
  });
  assert.equal(answer, 'here');
  assert.equal(calls, 3);
});

test('it is not made again when it is refused, when the time is over, or when the caller has gone', async () => {
  let calls = 0;
  const refused = new FlotillaError('not_found', 'no', { reason: 'CONTAINER_NOT_FOUND' });
  const failing = (error: Error) => async () => {
    calls++;
    throw error;
  };
  await assert.rejects(() => retryWhileUnavailable(failing(refused)), refused);
  assert.equal(calls, 1);
  await assert.rejects(() => retryWhileUnavailable(failing(away), { forMs: 60 }), away);
  assert.ok(calls > 1 && calls < 6, `${calls} calls`);
  calls = 0;
  await assert.rejects(() => retryWhileUnavailable(failing(away), { signal: AbortSignal.abort() }), away);
  assert.equal(calls, 1);
});

test('what nobody answered in time is not asked again where only a lost answer is', async () => {
  let calls = 0;
  const overdue = new FlotillaError('unavailable', 'late', {
    reason: 'SERVICE_UNAVAILABLE',
    metadata: { service: 'image', deadlineMs: '10000' },
  });
  const call = async () => {
    calls++;
    throw overdue;
  };
  await assert.rejects(() => retryWhileUnavailable(call, { onlyLost: true }), overdue);
  assert.equal(calls, 1);
});

for (const [what, error, lost] of [
  ['a connection that broke', away, true],
  ['a service that stops', new FlotillaError('unavailable', 'bye', { reason: 'SERVICE_STOPPING' }), true],
  ['NATS that is away', new FlotillaError('unavailable', 'no', { reason: 'NATS_UNREACHABLE' }), false],
  ['a refusal', new FlotillaError('not_found', 'no', { reason: 'SERVICE_UNAVAILABLE' }), false],
] as const) {
  test(`${what} ${lost ? 'leaves' : 'does not leave'} a call that was under way`, () =>
    assert.equal(isLost(error), lost));
}
