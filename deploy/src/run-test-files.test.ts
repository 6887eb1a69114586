import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { test } from 'node:test';

test('a file whose hooks hang is ended, and the others run', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'run-test-files-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const write = (name: string, text: string) => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };
  const hangs = `
    import { spawn } from 'node:child_process';
    import { after, test } from 'node:test';
    spawn('sleep', ['60'], { stdio: 'inherit' });
    after(() => new Promise(() => {}));
    test('hangs', () => new Promise(() => {}));`;
  const ends = `
    import { test } from 'node:test';
    test('ends', () => {});`;
  const files = [write('hangs.mjs', hangs), write('ends.mjs', ends)];
  const module = new URL('run-test-files.ts', import.meta.url).href;
  const program = `
    import { runTestFiles } from '${module}';
    const options = { concurrency: 1, env: process.env, timeoutMs: 500 };
    const { passed, failed } = await runTestFiles(${JSON.stringify(files)}, options);
    console.log('counted', passed, failed);`;
  // A run within a run would do nothing.
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const { stdout, stderr, status } = spawnSync(process.execPath, [write('run.mjs', program)], {
    env,
    encoding: 'utf8',
    timeout: 60_000,
  });
  assert.match(stdout, /^counted 1 2$/m, stderr);
  assert.equal(status, 0, stderr);
});
