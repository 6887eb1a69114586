import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { findProcess } from '@flotilla/linux';
import { adoptOrphans } from './adopt-orphans.ts';

test('orphans of children are adopted and reaped, own children keep their exit codes', async () => {
  const own = new Set<number>();
  using _ = adoptOrphans((pid) => own.has(pid));
  const { stdout } = await promisify(execFile)('/bin/sh', ['-c', 'sleep 0.2 >/dev/null 2>&1 & echo $!']);
  const orphan = Number(stdout);
  assert.equal(findProcess(orphan)?.parentPid, process.pid);
  const child = spawn('/bin/sh', ['-c', 'sleep 0.3; exit 7']);
  own.add(child.pid ?? 0);
  const code = await new Promise((resolve) => child.once('exit', resolve));
  assert.equal(code, 7);
  for (let i = 0; i < 400 && findProcess(orphan) !== undefined; i += 1) await sleep(50);
  assert.equal(findProcess(orphan), undefined);
});
