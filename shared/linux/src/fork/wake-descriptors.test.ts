import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import process from 'node:process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const program = fileURLToPath(new URL('./collecting-child.ts', import.meta.url));

test('a forked child that collects garbage is not aborted for want of a way to wake its loop', async () => {
  const { stdout } = await run(process.execPath, ['--single-threaded', '--v8-pool-size=0', program]);
  assert.deepEqual(JSON.parse(stdout), Array(5).fill(42));
});
