import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compatiblePlatforms, formatPlatform, normalisePlatform, parsePlatform, selectPlatform } from './platform.ts';

const host = { os: 'linux', architecture: 'amd64' };

for (const [text, expected] of [
  ['', 'linux/amd64'],
  ['linux', 'linux/amd64'],
  ['arm64', 'linux/arm64'],
  ['linux/aarch64', 'linux/arm64'],
  ['linux/arm64/v8', 'linux/arm64'],
  ['linux/arm', 'linux/arm/v7'],
  ['linux/arm/6', 'linux/arm/v6'],
  ['linux/armhf', 'linux/arm/v7'],
  ['linux/armel', 'linux/arm/v6'],
  ['Linux/X86_64/V3', 'linux/amd64/v3'],
  ['linux/amd64/v1', 'linux/amd64'],
  ['linux/i386', 'linux/386'],
] as const) {
  test(`${JSON.stringify(text)} is ${expected}`, () =>
    assert.equal(formatPlatform(parsePlatform(text, host)), expected));
}
for (const text of ['windows/amd64', 'linux/', '/amd64', 'linux/arm/v7/x', 'pdp11', 'linux/a b', 'linux/../x']) {
  test(`${text} is refused`, () =>
    assert.throws(() => parsePlatform(text, host), { reason: 'INVALID_FIELD', message: /platform/ }));
}

for (const [text, expected] of [
  ['linux/amd64', 'linux/amd64 linux/386'],
  ['linux/amd64/v3', 'linux/amd64/v3 linux/amd64/v2 linux/amd64 linux/386'],
  ['linux/arm/v7', 'linux/arm/v7 linux/arm/v6 linux/arm/v5'],
  ['linux/arm/v5', 'linux/arm/v5'],
  ['linux/arm64', 'linux/arm64 linux/arm/v8 linux/arm/v7 linux/arm/v6 linux/arm/v5'],
  [
    'linux/arm64/v9',
    'linux/arm64/v9 linux/arm64/v8.5 linux/arm64/v8.4 linux/arm64/v8.3 linux/arm64/v8.2 linux/arm64/v8.1 linux/arm64 linux/arm/v9 linux/arm/v8 linux/arm/v7 linux/arm/v6 linux/arm/v5',
  ],
  ['linux/riscv64', 'linux/riscv64'],
] as const) {
  test(`${text} runs ${expected}`, () =>
    assert.equal(compatiblePlatforms(parsePlatform(text, host)).map(formatPlatform).join(' '), expected));
}

const select = (wanted: string, ...offered: string[]) =>
  selectPlatform(
    offered,
    (text) => {
      const [os = '', architecture = '', variant] = text.split('/');
      return normalisePlatform({ os, architecture, ...(variant === undefined ? {} : { variant }) });
    },
    parsePlatform(wanted, host),
  );
test('the best of an index is taken, wherever it stands', () => {
  assert.equal(select('linux/arm/v7', 'linux/arm/v5', 'linux/arm/v6', 'linux/amd64'), 'linux/arm/v6');
  assert.equal(select('linux/amd64', 'linux/386', 'linux/amd64'), 'linux/amd64');
  assert.equal(select('linux/amd64', 'linux/amd64/v2', 'unknown/unknown'), undefined);
  assert.equal(select('linux/amd64', 'windows/amd64', 'linux/386'), 'linux/386');
});
