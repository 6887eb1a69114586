import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { z } from 'zod';
import { loadConfig } from './load-config.ts';
import { loadPaths, natsUrl, socketPath } from './paths.ts';

const folder = mkdtempSync(join(tmpdir(), 'flotilla-config-'));
after(() => rmSync(folder, { recursive: true }));
const file = join(folder, 'settings.json');
writeFileSync(file, JSON.stringify({ image: { poolSize: 3 }, other: { anything: 1 } }));
const schema = z.object({ poolSize: z.coerce.number().int().min(1).default(8), log: z.string().default('info') });

for (const [name, source, expected] of [
  ['defaults', {}, 8],
  ['the file wins over defaults', { env: { FLOTILLA_CONFIG: file } }, 3],
  ['a variable wins over the file', { env: { FLOTILLA_CONFIG: file, FLOTILLA_POOL_SIZE: '4' } }, 4],
  ['a flag wins over a variable', { env: { FLOTILLA_POOL_SIZE: '4' }, argv: ['--pool-size', '5'] }, 5],
] as const) {
  test(name, () => assert.equal(loadConfig(schema, 'image', { argv: [], env: {}, ...source }).poolSize, expected));
}

test('a value out of range is refused and named', () => {
  assert.throws(() => loadConfig(schema, 'image', { argv: ['--pool-size', '0'], env: {} }), {
    reason: 'INVALID_FIELD',
    message: /poolSize/,
  });
});
test('an unknown flag is refused', () => {
  assert.throws(() => loadConfig(schema, 'image', { argv: ['--pool', '2'], env: {} }), { reason: 'INVALID_FLAG' });
});
test('an unknown key of the file is refused and named', () => {
  const wrong = join(folder, 'wrong.json');
  writeFileSync(wrong, JSON.stringify({ image: { pool: 3 } }));
  assert.throws(() => loadConfig(schema, 'image', { argv: [], env: { FLOTILLA_CONFIG: wrong } }), { message: /pool/ });
});

test('instances with different roots have different names', () => {
  const [a, b] = ['/tmp/a', '/tmp/b'].map(
    (root) => loadPaths({ FLOTILLA_ROOT: root, FLOTILLA_RUN: '/tmp/r' }).instance,
  );
  assert.notEqual(a, b);
  assert.equal(loadPaths({}).instance, 'flotilla');
});
test('folders must be absolute and short enough for sockets', () => {
  assert.throws(() => loadPaths({ FLOTILLA_RUN: 'run' }), { reason: 'INVALID_FIELD' });
  assert.throws(() => loadPaths({ FLOTILLA_RUN: `/tmp/${'x'.repeat(60)}` }), { message: /FLOTILLA_RUN/ });
  assert.equal(socketPath(loadPaths({ FLOTILLA_RUN: '/tmp/r/' }), 'api'), '/tmp/r/api.sock');
});
test('without NATS the error says which file is missing', () => {
  assert.throws(() => natsUrl({ ...loadPaths({}), run: folder }), { reason: 'NATS_UNREACHABLE' });
});
