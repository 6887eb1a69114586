import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, rmdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { test } from 'node:test';
import { ExitFiles, findProcess, waitpid } from '@flotilla/linux';
import { keepOrphansExit } from './orphan-exits.ts';

const unified = ['/sys/fs/cgroup/unified', '/sys/fs/cgroup'].find((path) => existsSync(join(path, 'cgroup.procs')));
const isTold = process.env.FLOTILLA_ROOT_TESTS === '1' && process.getuid?.() === 0;
const skip = !isTold ? 'changes the host: FLOTILLA_ROOT_TESTS=1 as root' : unified === undefined && 'no cgroup v2 here';

test('how a process of a container ended is written before it is reaped; of others nothing is', { skip }, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'flotilla-exits-'));
  const instance = `fl-exits-${process.pid}`;
  const group = join(unified ?? '', instance, 'a');
  mkdirSync(group, { recursive: true });
  try {
    const exits = new ExitFiles(join(folder, 'exits'));
    const end = async (script: string) => {
      const child = spawn('/bin/sh', ['-c', script]);
      const ended = waitpid(child.pid ?? 0, { noReap: true });
      const { startTime = 0 } = findProcess(ended.pid) ?? {};
      keepOrphansExit(ended, instance, exits);
      await once(child, 'exit');
      return exits.find(ended.pid, startTime);
    };
    assert.equal(await end('exit 4'), undefined, 'it was in no group of the instance');
    assert.equal((await end(`echo $$ >${group}/cgroup.procs; exit 3`))?.exitCode, 3);
    const { exitCode, signal } = (await end(`echo $$ >${group}/cgroup.procs; kill -KILL $$`)) ?? {};
    assert.deepEqual({ exitCode, signal }, { exitCode: 137, signal: 9 });
  } finally {
    for (const path of [group, join(unified ?? '', instance)]) rmdirSync(path);
    rmSync(folder, { recursive: true });
  }
});
