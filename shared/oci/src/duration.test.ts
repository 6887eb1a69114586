import assert from 'node:assert/strict';
import { test } from 'node:test';
import { findDuration } from './duration.ts';

const cases: readonly (readonly [text: string, nanos: bigint | undefined])[] = [
  ['0', 0n],
  ['1h30m', 5_400_000_000_000n],
  ['1.5s', 1_500_000_000n],
  ['5', undefined],
  ['', undefined],
  ['-1s', undefined],
  ['9223372036854775807ns', 9_223_372_036_854_775_807n],
  ['9223372036854775808ns', undefined],
  ['9999999999h', undefined],
];
for (const [text, nanos] of cases) {
  test(`${JSON.stringify(text)} is ${nanos ?? 'no duration'}`, () => assert.equal(findDuration(text), nanos));
}
