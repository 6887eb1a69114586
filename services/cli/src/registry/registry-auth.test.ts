import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { after, test } from 'node:test';
import { findRegistryAuth } from './registry-auth.ts';

const folder = mkdtempSync(join(tmpdir(), 'fl-login-'));
const path = process.env.PATH;
process.env.PATH = `${folder}${delimiter}${path}`;
after(() => {
  process.env.PATH = path;
  rmSync(folder, { recursive: true });
});

/** A helper as Docker has them: a program that reads an address and prints what it knows. */
function helper(name: string, script: string): void {
  const file = join(folder, `docker-credential-${name}`);
  writeFileSync(file, `#!/bin/sh\n${script}\n`);
  chmodSync(file, 0o755);
}
helper(
  'keys',
  `read -r host
  case $host in
    r.example:5000) echo '{"ServerURL":"x","Username":"me","Secret":"pass word"}' ;;
    https://index.docker.io/v1/) echo '{"Username":"<token>","Secret":"refresh"}' ;;
    *) echo 'credentials not found in native keychain'; exit 1 ;;
  esac`,
);
helper('broken', 'echo no luck; exit 3');
helper('garbled', 'cat >/dev/null; echo nonsense');

const nobody = { username: '', password: '', identityToken: '', registryToken: '' };
const base64 = (text: string) => Buffer.from(text).toString('base64');

async function find(config: unknown, domain: string) {
  const warnings: string[] = [];
  writeFileSync(join(folder, 'config.json'), typeof config === 'string' ? config : JSON.stringify(config));
  const auth = await findRegistryAuth(domain, { DOCKER_CONFIG: folder }, (text) => warnings.push(text));
  return { auth, warnings };
}

for (const [name, config, domain, expected] of [
  ['nothing', {}, 'r.example', {}],
  [
    'name and password',
    { auths: { 'r.example': { auth: base64('me:pass:word') } } },
    'r.example',
    { username: 'me', password: 'pass:word' },
  ],
  ['another port is another registry', { auths: { 'r.example': { auth: base64('a:b') } } }, 'r.example:5000', {}],
  [
    'Docker’s own registry by its old address',
    { auths: { 'https://index.docker.io/v1/': { auth: base64('me:pw') } } },
    'docker.io',
    { username: 'me', password: 'pw' },
  ],
  [
    'an address with scheme and path',
    { auths: { 'https://r.example/v2/': { username: 'me', password: 'pw' } } },
    'r.example',
    { username: 'me', password: 'pw' },
  ],
  [
    'tokens',
    { auths: { 'r.example': { identitytoken: 'i', registrytoken: 'r' } } },
    'r.example',
    { identityToken: 'i', registryToken: 'r' },
  ],
  [
    'a helper for one registry',
    { credHelpers: { 'r.example:5000': 'keys' } },
    'r.example:5000',
    { username: 'me', password: 'pass word' },
  ],
  ['a helper for all, which has a refresh token', { credsStore: 'keys' }, 'docker.io', { identityToken: 'refresh' }],
  ['a helper that knows nothing', { credsStore: 'keys' }, 'other.example', {}],
] as const) {
  test(name, async () =>
    assert.deepEqual(await find(config, domain), { auth: { ...nobody, ...expected }, warnings: [] }),
  );
}

for (const [name, config, says] of [
  ['a file that is not JSON', '{', /not understood/],
  ['a file of another form', '{"auths": []}', /auths is no object/],
  ['a helper that fails', { credsStore: 'broken' }, /docker-credential-broken failed: no luck/],
  ['a helper that says nonsense', { credsStore: 'garbled' }, /did not answer in JSON/],
  ['a helper that is not there', { credsStore: 'absent' }, /docker-credential-absent is not on PATH/],
  ['a helper that is a path', { credsStore: '../keys' }, /no valid name/],
] as const) {
  test(`${name} is a warning, and nobody is logged in`, async () => {
    const { auth, warnings } = await find(config, 'r.example');
    assert.deepEqual(auth, nobody);
    assert.match(warnings.join(), says);
  });
}
