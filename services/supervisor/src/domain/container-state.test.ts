import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkTransition, isLive, mayFollow, stateNames } from './container-state.ts';

const legal = new Set([
  'creating → created',
  'creating → removing',
  'created → starting',
  'created → removing',
  'starting → running',
  'starting → created',
  'starting → exited',
  'running → pausing',
  'running → stopping',
  'running → exited',
  'pausing → paused',
  'pausing → running',
  'pausing → exited',
  'paused → running',
  'paused → stopping',
  'paused → exited',
  'stopping → exited',
  'exited → starting',
  'exited → removing',
  'removing → dead',
  'dead → removing',
]);

for (const from of stateNames) {
  for (const to of stateNames) {
    const move = `${from} → ${to}`;
    test(`${move} is ${legal.has(move) ? 'legal' : 'refused'}`, () => {
      assert.equal(mayFollow(from, to), legal.has(move));
      if (legal.has(move)) checkTransition(from, to, 'c1');
      else
        assert.throws(() => checkTransition(from, to, 'c1'), {
          reason: 'ILLEGAL_TRANSITION',
          code: 'failed_precondition',
        });
    });
  }
}

test('a container has processes while it runs, freezes, is frozen or stops', () => {
  assert.deepEqual(stateNames.filter(isLive), ['running', 'pausing', 'paused', 'stopping']);
});
