import assert from 'node:assert/strict';
import { test } from 'node:test';
import { canonicalReference, familiarReference, parseReference } from './reference.ts';

const digest = `sha256:${'a'.repeat(64)}`;
for (const [text, canonical, familiar] of [
  ['debian', 'docker.io/library/debian:latest', 'debian:latest'],
  ['debian:12', 'docker.io/library/debian:12', 'debian:12'],
  ['me/app', 'docker.io/me/app:latest', 'me/app:latest'],
  ['docker.io/debian', 'docker.io/library/debian:latest', 'debian:latest'],
  ['index.docker.io/debian', 'docker.io/library/debian:latest', 'debian:latest'],
  ['localhost/app', 'localhost/app:latest', 'localhost/app:latest'],
  ['localhost:5000/app:1', 'localhost:5000/app:1', 'localhost:5000/app:1'],
  ['r.example/a/b/c:v1.2-3', 'r.example/a/b/c:v1.2-3', 'r.example/a/b/c:v1.2-3'],
  [`debian@${digest}`, `docker.io/library/debian@${digest}`, `debian@${digest}`],
  [`debian:12@${digest}`, `docker.io/library/debian:12@${digest}`, `debian:12@${digest}`],
  ['a__b/c--d', 'docker.io/a__b/c--d:latest', 'a__b/c--d:latest'],
] as const) {
  test(`${text} is ${canonical}`, () => {
    const reference = parseReference(text);
    assert.equal(canonicalReference(reference), canonical);
    assert.equal(familiarReference(reference), familiar);
  });
}

for (const text of [
  '',
  'Debian',
  'debian:',
  'debian:-x',
  'a//b',
  '/a',
  'a/',
  'a..b',
  '_a',
  '-a',
  'debian@sha256:12',
  'debian@md5:00',
  'a b',
  'a\nb',
  '../x',
  'a'.repeat(256),
  'b'.repeat(64),
]) {
  test(`${JSON.stringify(text.slice(0, 40))} is refused`, () =>
    assert.throws(() => parseReference(text), { reason: 'INVALID_FIELD' }));
}
