import assert from 'node:assert/strict';
import { test } from 'node:test';
import { InsecureHosts } from './insecure-hosts.ts';

const hosts = new InsecureHosts(['registry.test', 'other.test:5000', '10.1.0.0/16', 'fd00::/8']);
for (const [host, insecure] of [
  ['localhost', true],
  ['localhost:5000', true],
  ['127.1.2.3:5000', true],
  ['[::1]:5000', true],
  ['registry.test', true],
  ['registry.test:443', true],
  ['Registry.Test:5000', true],
  ['other.test:5000', true],
  ['other.test', false],
  ['other.test:5001', false],
  ['10.1.200.3:80', true],
  ['10.2.0.1', false],
  ['[fd12::1]:5000', true],
  ['[fe80::1]', false],
  ['docker.io', false],
  ['127.0.0.1.example', false],
] as const) {
  test(`${host} is ${insecure ? 'insecure' : 'secure'}`, () => assert.equal(hosts.has(host), insecure));
}
for (const text of ['http://a', 'a b', '10.0.0.0/33', 'x/8', '']) {
  test(`${JSON.stringify(text)} is refused`, () =>
    assert.throws(() => new InsecureHosts([text]), { reason: 'INVALID_FIELD' }));
}
