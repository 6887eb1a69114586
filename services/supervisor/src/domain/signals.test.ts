import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseSignal } from './signals.ts';

for (const [text, number] of [
  ['SIGTERM', 15],
  ['term', 15],
  ['9', 9],
  ['sigquit', 3],
  ['RTMIN', 34],
  ['SIGRTMIN+3', 37],
  ['RTMAX-14', 50],
  ['64', 64],
] as const) {
  test(`signal ${text} is ${number}`, () => assert.equal(parseSignal(text, 'signal'), number));
}

for (const text of ['', '0', '65', '-1', 'SIGNOPE', 'RTMIN+31', 'RTMAX+1', '9 ', '1e1', '__proto__', 'constructor']) {
  test(`signal ${JSON.stringify(text)} is refused`, () =>
    assert.throws(() => parseSignal(text, 'signal'), { reason: 'INVALID_FIELD', message: /^signal must be / }));
}
