import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseLogOptions } from './log-options.ts';

test('a pattern for labels takes no time that grows beyond all bounds with a label', () => {
  const options = { 'labels-regex': '^(a+)+$' };
  const { labelsPattern } = parseLogOptions({ driver: 'json-file', options });
  assert.equal(labelsPattern?.test('aaa'), true);
  const startedAt = performance.now();
  assert.equal(labelsPattern?.test(`${'a'.repeat(5_000)}!`), false);
  assert.ok(performance.now() - startedAt < 5_000);
});
