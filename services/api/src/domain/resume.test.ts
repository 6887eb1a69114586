import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FlotillaError } from '@flotilla/errors';
import { Patience } from './resume.ts';

const away = new FlotillaError('unavailable', 'gone', { reason: 'SERVICE_UNAVAILABLE' });

test('patience ends when the owner stays away, and begins anew when it answers', () => {
  let now = 1_000;
  const patience = new Patience(100, () => now);
  assert.equal(patience.allows(away), true);
  now = 1_099;
  assert.equal(patience.allows(away), true);
  now = 1_100;
  assert.equal(patience.allows(away), false);
  patience.restore();
  assert.equal(patience.allows(away), true);
});

test('an answer that refuses is not asked for again', () => {
  const patience = new Patience(100);
  assert.equal(patience.allows(new FlotillaError('not_found', 'no', { reason: 'CONTAINER_NOT_FOUND' })), false);
  assert.equal(patience.allows(new Error('bug')), false);
});
