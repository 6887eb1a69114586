import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseChallenges } from './challenge.ts';

const bearer = {
  scheme: 'bearer',
  parameters: { realm: 'https://auth.example/token', service: 'r.example', scope: 'repository:a/b:pull,push' },
};
const text = 'Bearer realm="https://auth.example/token",service="r.example",scope="repository:a/b:pull,push"';

for (const [name, headers, expected] of [
  ['a token server', [text], [bearer]],
  [
    'blanks, other case, no quotes',
    ['bearer  Realm = "https://auth.example/token" , SERVICE=r.example,scope="repository:a/b:pull,push"'],
    [bearer],
  ],
  ['basic', ['Basic realm="a \\"b\\" \\\\ c"'], [{ scheme: 'basic', parameters: { realm: 'a "b" \\ c' } }]],
  ['two in a header', [`Basic realm="x", ${text}`], [{ scheme: 'basic', parameters: { realm: 'x' } }, bearer]],
  ['two headers', ['Basic realm=x', text], [{ scheme: 'basic', parameters: { realm: 'x' } }, bearer]],
  ['a scheme alone, and one with a token', [`Negotiate, NTLM TlRMTVNTUAA=, ${text}`], ['negotiate', 'ntlm', bearer]],
  ['nothing', [''], []],
  ['nonsense', ['"""', '====', ','], []],
  ['an unclosed quote', ['Bearer realm="https://x'], ['bearer']],
  ['too long', [`Bearer realm="${'x'.repeat(9000)}"`], []],
] as const) {
  test(name, () => {
    const wanted = expected.map((one) => (typeof one === 'string' ? { scheme: one, parameters: {} } : one));
    assert.deepEqual(parseChallenges(headers), wanted);
  });
}
