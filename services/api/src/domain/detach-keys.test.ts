import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DetachScanner, parseDetachKeys } from './detach-keys.ts';

const good: readonly (readonly [text: string, bytes: readonly number[]])[] = [
  ['', [16, 17]],
  ['ctrl-p,ctrl-q', [16, 17]],
  ['ctrl-a', [1]],
  ['ctrl-@', [0]],
  ['ctrl-[,x', [27, 120]],
  ['ctrl-\\', [28]],
  ['ctrl-],ctrl-^,ctrl-_', [29, 30, 31]],
  ['a,b', [97, 98]],
];
for (const [text, bytes] of good) {
  test(`detach keys ${JSON.stringify(text)} are bytes ${bytes}`, () => {
    assert.deepEqual([...parseDetachKeys(text)], bytes);
  });
}

for (const text of ['ctrl-', 'ctrl-1', 'ctrl-P', 'alt-x', 'ab', ',', 'a,,b', 'é']) {
  test(`detach keys ${JSON.stringify(text)} are refused`, () => {
    assert.throws(() => parseDetachKeys(text), { reason: 'INVALID_FIELD', message: /detach_keys/ });
  });
}

const P = '\x10';
const Q = '\x11';
const inputs: readonly (readonly [pieces: readonly string[], passed: string, detached: boolean])[] = [
  [['ls\n'], 'ls\n', false],
  [[`a${P}${Q}b`], 'a', true],
  [[`a${P}`, `${Q}b`], 'a', true],
  [[P, 'x'], `${P}x`, false],
  [[P, P, Q], P, true],
  [[`${P}${P}${P}x`], `${P}${P}${P}x`, false],
  [[Q, P], `${Q}${P}`, false],
];
for (const [pieces, passed, detached] of inputs) {
  test(`input ${JSON.stringify(pieces)} ${detached ? 'detaches' : 'goes on'}`, () => {
    const scanner = new DetachScanner(parseDetachKeys(''));
    let out = '';
    let seen = false;
    for (const piece of pieces) {
      const result = scanner.scan(Buffer.from(piece));
      out += result.data.toString();
      if (result.detached) seen = true;
    }
    if (!seen) out += scanner.flush().toString();
    assert.equal(out, passed);
    assert.equal(seen, detached);
  });
}

test('a sequence that overlaps itself is found', () => {
  const scanner = new DetachScanner(parseDetachKeys('a,a,b'));
  assert.deepEqual(scanner.scan(Buffer.from('aaab')), { data: Buffer.from('a'), detached: true });
});
