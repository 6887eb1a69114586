import assert from 'node:assert/strict';
import { test } from 'node:test';
import { StoredDescriptors } from './stored-descriptors.ts';
import { parseStoredName, storedName, storedNames } from './stored-name.ts';

const whats = ['terminal', 'staging', 'stdin', 'stdout', 'stderr', 'init'];
const id = '0123456789abcdef'.repeat(4);

test('names are short, and those of 2,000 containers with three each fit into one variable', () => {
  assert.equal(storedName('init', id), 'p0123456789abcdef');
  assert.equal(new Set(whats.map((what) => storedName(what, id))).size, whats.length);
  const variable = whats.slice(2, 5).map((what) => `${storedName(what, id)}:`.repeat(2_000));
  assert.ok(variable.join('').length < 128 * 1024 - 256);
});

test('short names and those of earlier releases are understood, and others are not', () => {
  for (const what of whats) {
    for (const name of storedNames(what, id)) assert.deepEqual(parseStoredName(name), { what, key: id.slice(0, 16) });
    for (const other of ['one', 'a-b', 'A'.repeat(64), '0'.repeat(63)]) {
      assert.deepEqual(storedNames(what, other), [`${what}-${other}`]);
      assert.deepEqual(parseStoredName(`${what}-${other}`), { what, key: other });
    }
  }
  const names = ['launcher', 'flotilla-launcher.socket', 'stdin-', 'stdin-.', 'toString-one', 'other-one', ''];
  for (const name of [...names, `x${id.slice(0, 16)}`, `p${id.slice(0, 15)}`]) {
    assert.equal(parseStoredName(name), undefined, name);
  }
});

test('a container gets its own, by either name; what nobody takes is left', () => {
  const other = `f${id.slice(1)}`;
  const stored = new StoredDescriptors(
    new Map([
      [storedName('init', id), 5],
      [`stdin-${id}`, 6],
      [`init-${id}`, 7],
      [storedName('stdin', other), 8],
      ['stdin-one', 9],
    ]),
  );
  assert.deepEqual([...stored.take(id)].sort(), [
    ['init', 5],
    ['stdin', 6],
  ]);
  assert.deepEqual([...stored.take(id)], []);
  assert.deepEqual([...stored.take('one')], [['stdin', 9]]);
  assert.deepEqual(stored.left, [
    { fd: 7, name: `init-${id}` },
    { fd: 8, name: storedName('stdin', other) },
  ]);
});
