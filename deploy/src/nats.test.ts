import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { configureNats, syncSettings } from './nats.ts';

test('each message is on disk before its ack where the release knows how', () => {
  assert.deepEqual(syncSettings('2.9.10'), {});
  assert.deepEqual(syncSettings(''), {});
  for (const version of ['2.10.0', '2.11.3', '3.0.0'])
    assert.deepEqual(syncSettings(version), { sync_interval: 'always' });
});

test('a NATS that cannot be told to flush has a folder that writes through, with all that is in it', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'flotilla-nats-'));
  try {
    const paths = { root: join(folder, 'root'), run: join(folder, 'run'), instance: 'test' };
    const data = join(paths.root, 'nats');
    mkdirSync(join(data, 'old'), { recursive: true });
    writeFileSync(join(data, 'old/file'), '');
    // No nats-server on this path: as an old one.
    await configureNats(paths, folder);
    writeFileSync(join(data, 'new'), '');
    const { status, stdout, stderr } = spawnSync('lsattr', ['-d', data, join(data, 'old/file'), join(data, 'new')], {
      encoding: 'utf8',
    });
    if (status !== 0) return t.skip(`the file system of ${tmpdir()} has no such flags: ${stderr.trim()}`);
    for (const line of stdout.trim().split('\n')) assert.match(line, /^\S*S/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('port and password stay, unless somebody took the port', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'flotilla-nats-'));
  try {
    const paths = { root: join(folder, 'root'), run: join(folder, 'run'), instance: 'test' };
    const configured = async (): Promise<URL> => {
      await configureNats(paths, process.env.PATH);
      return new URL(readFileSync(join(paths.run, 'nats.url'), 'utf8').trim());
    };
    const first = await configured();
    assert.equal((await configured()).href, first.href);
    const thief = createServer().listen(Number(first.port), '127.0.0.1');
    await once(thief, 'listening');
    const later = await configured();
    thief.close();
    assert.notEqual(later.port, first.port);
    assert.equal(later.password, first.password);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
