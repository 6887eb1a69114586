import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventsRequest } from '../commands/events.ts';
import { logsRequest } from '../commands/logs.ts';
import { findDuration, parseDuration } from './duration.ts';
import { parseCpus, parseInteger } from './number.ts';
import { parseSize, parseSizeOrUnlimited } from './size.ts';
import { parseTimestamp } from './timestamp.ts';

const sizes: readonly (readonly [text: string, bytes: bigint])[] = [
  ['0', 0n],
  ['100', 100n],
  ['100b', 100n],
  ['1k', 1024n],
  ['1kb', 1024n],
  ['64KiB', 65_536n],
  ['512m', 512n << 20n],
  ['1.5g', 3n << 29n],
  ['.5g', 1n << 29n],
  ['2G', 2n << 30n],
  ['2 gb', 2n << 30n],
  ['1t', 1n << 40n],
];
for (const [text, bytes] of sizes) {
  test(`size ${text} is ${bytes} bytes`, () => assert.equal(parseSize('--memory', text), bytes));
}
for (const text of ['', '10x', 'm', '-1', '1..5g', '1e3', '0x10', '5mm', '9999999p', ' 1', '1k ']) {
  test(`size ${JSON.stringify(text)} is refused, naming the flag`, () => {
    assert.throws(() => parseSize('--memory', text), { reason: 'INVALID_FIELD', message: /^--memory must be/ });
  });
}
test('a size may be unlimited where that has a meaning', () => {
  assert.equal(parseSizeOrUnlimited('--memory-swap', '-1'), -1n);
  assert.throws(() => parseSizeOrUnlimited('--memory-swap', '-2'), { reason: 'INVALID_FIELD' });
});

const durations: readonly (readonly [text: string, nanos: bigint | undefined])[] = [
  ['0', 0n],
  ['30s', 30_000_000_000n],
  ['1m30s', 90_000_000_000n],
  ['1.5h', 5_400_000_000_000n],
  ['500ms', 500_000_000n],
  ['5us', 5_000n],
  ['7ns', 7n],
  ['', undefined],
  ['30', undefined],
  ['-1s', undefined],
  ['1d', undefined],
  ['s', undefined],
];
for (const [text, nanos] of durations) {
  test(`duration ${JSON.stringify(text)} is ${nanos ?? 'none'}`, () => assert.equal(findDuration(text), nanos));
}
test('a bad duration names its flag', () => {
  assert.throws(() => parseDuration('--health-interval', '5'), { message: /^--health-interval must be/ });
});

const now = 1_800_000_000_000_000_000n;
const times: readonly (readonly [text: string, nanos: bigint])[] = [
  ['10m', now - 600_000_000_000n],
  ['1700000000', 1_700_000_000_000_000_000n],
  ['1700000000.000000001', 1_700_000_000_000_000_001n],
  ['1700000000.5', 1_700_000_000_500_000_000n],
  ['2023-11-14T22:13:20Z', 1_700_000_000_000_000_000n],
  ['2023-11-14T22:13:20.123456789Z', 1_700_000_000_123_456_789n],
  ['2023-11-14T23:13:20+01:00', 1_700_000_000_000_000_000n],
  ['2023-11-14T22:13Z', 1_699_999_980_000_000_000n],
];
for (const [text, nanos] of times) {
  test(`time ${text} is ${nanos}`, () => assert.equal(parseTimestamp('--since', text, now), nanos));
}
test('a time without a zone is local', () => {
  const expected = BigInt(new Date(2023, 10, 14, 22, 13, 20).getTime()) * 1_000_000n;
  assert.equal(parseTimestamp('--since', '2023-11-14T22:13:20', now), expected);
  const hour = BigInt(new Date(2023, 10, 14, 22).getTime()) * 1_000_000n;
  assert.equal(parseTimestamp('--since', '2023-11-14T22', now), hour);
});
for (const text of ['', 'yesterday', '2023-13-01', '2023-11-14T25:00:00Z', '1.2.3', '-5']) {
  test(`time ${JSON.stringify(text)} is refused`, () => {
    assert.throws(() => parseTimestamp('--since', text, now), { reason: 'INVALID_FIELD', message: /^--since/ });
  });
}

for (const [text, nano] of [
  ['1.5', 1_500_000_000n],
  ['.5', 500_000_000n],
  ['0.000000001', 1n],
  ['2', 2_000_000_000n],
] as const) {
  test(`${text} processors are ${nano} billionths`, () => assert.equal(parseCpus('--cpus', text), nano));
}
for (const text of ['', 'x', '-1', '1.0000000001', '1,5', '.']) {
  test(`${JSON.stringify(text)} processors are refused`, () => {
    assert.throws(() => parseCpus('--cpus', text), { reason: 'INVALID_FIELD' });
  });
}
for (const text of ['', '1.5', '11', '-1', '0x1', 'one', '1e1']) {
  test(`${JSON.stringify(text)} is no whole number from 0 to 10`, () => {
    assert.throws(() => parseInteger('--n', text, 0, 10), { reason: 'INVALID_FIELD' });
  });
}

test('flags of logs and events that are empty are as good as absent', () => {
  const { sinceUnixNano, untilUnixNano, tail } = logsRequest('one', { since: '', until: '', tail: '' }, now);
  assert.deepEqual([sinceUnixNano, untilUnixNano, tail], [undefined, undefined, undefined]);
  assert.equal(eventsRequest({ since: '', until: '' }, now).sinceUnixNano, undefined);
});
