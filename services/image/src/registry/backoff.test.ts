import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Backoff, parseRetryAfter } from './backoff.ts';
import { TransientError, unavailable } from './registry-error.ts';

const now = Date.parse('2026-01-01T00:00:00Z');
for (const [text, expected] of [
  [undefined, undefined],
  ['0', 0],
  ['120', 120_000],
  ['Thu, 01 Jan 2026 00:00:30 GMT', 30_000],
  ['Wed, 31 Dec 2025 00:00:00 GMT', 0],
  ['soon', undefined],
  ['-1', 0],
] as const) {
  test(`Retry-After: ${text}`, () => assert.equal(parseRetryAfter(text, now), expected));
}

const { signal } = new AbortController();
const failure = (retryAfterMs?: number) => new TransientError(unavailable('r.example', 'fails'), retryAfterMs);

test('after so many failures in a row it is given up, and going on counts as a new beginning', async () => {
  const backoff = new Backoff({ retries: 2, retryMs: 1 });
  await backoff.pause(failure(), signal);
  await backoff.pause(failure(), signal);
  backoff.reset();
  await backoff.pause(failure(), signal);
  await backoff.pause(failure(), signal);
  await assert.rejects(backoff.pause(failure(), signal), { reason: 'REGISTRY_UNAVAILABLE' });
});

test('a pause is as long as the registry asks, and ends when it is cancelled; an hour is not waited for', async () => {
  const backoff = new Backoff({ retries: 9, retryMs: 1 });
  const before = performance.now();
  await backoff.pause(failure(50), signal);
  assert.ok(performance.now() - before >= 49);
  await assert.rejects(backoff.pause(failure(3_600_000), signal), { reason: 'REGISTRY_UNAVAILABLE' });
  const controller = new AbortController();
  const waiting = backoff.pause(failure(50_000), controller.signal);
  controller.abort(new Error('enough'));
  await assert.rejects(waiting, /enough/);
});

test('what does not change is not tried again', async () => {
  const lasting = unavailable('r.example', 'is not what it was');
  await assert.rejects(new Backoff({ retries: 9, retryMs: 1 }).pause(lasting, signal), lasting);
});
