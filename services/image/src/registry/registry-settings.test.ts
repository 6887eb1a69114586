import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loadConfig } from '@flotilla/config';
import { configSchema } from '../config.ts';
import { registrySettings } from './registry-settings.ts';

const settings = (...argv: string[]) => registrySettings(loadConfig(configSchema, 'image', { argv, env: {} }), {});

test('lists have commas between them; a mirror without a registry is for docker.io', () => {
  const { insecure, mirrors, certificateFolders } = settings(
    ...['--registry-insecure', 'a.test, 10.0.0.0/8,', '--registry-certs', '/etc/certs'],
    ...['--registry-mirrors', 'https://m.test:5000,quay.io=http://q.test/'],
  );
  assert.ok(insecure.has('a.test:5000') && insecure.has('10.1.2.3'));
  assert.deepEqual(certificateFolders, ['/etc/certs']);
  assert.deepEqual(mirrors, [
    { domain: 'docker.io', origin: 'https://m.test:5000' },
    { domain: 'quay.io', origin: 'http://q.test' },
  ]);
});

for (const [flag, value] of [
  ['--registry-mirrors', 'mirror.test'],
  ['--registry-mirrors', 'https://m.test/path'],
  ['--registry-mirrors', 'https://me:secret@m.test'],
  ['--registry-insecure', 'http://a.test'],
  ['--registry-retries', '0'],
] as const) {
  test(`${flag} ${value} is refused, and the setting named`, () =>
    assert.throws(() => settings(flag, value), { reason: 'INVALID_FIELD', message: /setting registry/ }));
}
