import assert from 'node:assert/strict';
import { closeSync, constants, mkdirSync, mkdtempSync, openSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { openat2, RESOLVE_IN_ROOT } from './at-calls.ts';

const renames = `
  import { mkdirSync, renameSync } from 'node:fs';
  import { workerData, parentPort } from 'node:worker_threads';
  mkdirSync(workerData + '/a');
  parentPort.postMessage('ready');
  for (;;) { renameSync(workerData + '/a', workerData + '/b'); renameSync(workerData + '/b', workerData + '/a'); }`;

test('a path with `..` opens within its root while folders are renamed elsewhere', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'at-calls-'));
  t.after(() => rmSync(folder, { recursive: true }));
  mkdirSync(join(folder, 'root/data'), { recursive: true });
  mkdirSync(join(folder, 'elsewhere'));
  writeFileSync(join(folder, 'root/file'), '');
  symlinkSync('../../../file', join(folder, 'root/data/link'));
  const root = openSync(join(folder, 'root'), constants.O_RDONLY | constants.O_DIRECTORY);
  t.after(() => closeSync(root));
  const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(renames)}`), {
    workerData: join(folder, 'elsewhere'),
  });
  await new Promise((resolve) => worker.once('message', resolve));
  try {
    for (let i = 0; i < 20_000; i++) {
      closeSync(openat2(root, 'data/link', { flags: constants.O_RDONLY, resolve: RESOLVE_IN_ROOT }));
    }
  } finally {
    await worker.terminate();
  }
  assert.throws(() => openat2(root, 'data/nothing', { flags: constants.O_RDONLY, resolve: RESOLVE_IN_ROOT }), {
    code: 'ENOENT',
  });
});
