import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmdirSync, rmSync, utimesSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { test } from 'node:test';
import { findProcess, waitpid } from '@flotilla/linux';
import { ExitFiles } from './exit-files.ts';

const unified = ['/sys/fs/cgroup/unified', '/sys/fs/cgroup'].find((path) => existsSync(join(path, 'cgroup.procs')));
const isTold = process.env.FLOTILLA_ROOT_TESTS === '1' && process.getuid?.() === 0;
const skip = !isTold ? 'changes the host: FLOTILLA_ROOT_TESTS=1 as root' : unified === undefined && 'no cgroup v2 here';

test('how a process of a container ended is written before it is reaped; of others nothing is', { skip }, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'flotilla-exits-'));
  const instance = `fl-exits-${process.pid}`;
  const group = join(unified ?? '', instance, 'a');
  mkdirSync(group, { recursive: true });
  try {
    const exits = new ExitFiles(join(folder, 'exits'), instance);
    const end = async (script: string) => {
      const child = spawn('/bin/sh', ['-c', script]);
      const ended = waitpid(child.pid ?? 0, { noReap: true });
      const { startTime } = findProcess(ended.pid) ?? {};
      exits.write(ended);
      await once(child, 'exit');
      return join(folder, 'exits', `${ended.pid}-${startTime}.json`);
    };
    await end('exit 4');
    assert.equal(existsSync(join(folder, 'exits')), false, 'it was in no group of the instance');

    const before = BigInt(Date.now()) * 1_000_000n;
    const first = await end(`echo $$ >${group}/cgroup.procs; exit 3`);
    const { exitedAtUnixNano, ...how } = JSON.parse(readFileSync(first, 'utf8'));
    assert.deepEqual(how, { exitCode: 3 });
    assert.ok(BigInt(exitedAtUnixNano) >= before);

    utimesSync(first, 0, 0);
    const second = await end(`echo $$ >${group}/cgroup.procs; kill -KILL $$`);
    const { exitCode, signal } = JSON.parse(readFileSync(second, 'utf8'));
    assert.deepEqual({ exitCode, signal }, { exitCode: 137, signal: 9 });
    assert.deepEqual(
      readdirSync(join(folder, 'exits')).map((name) => join(folder, 'exits', name)),
      [second],
      'what is older than an hour is taken away',
    );
  } finally {
    for (const path of [group, join(unified ?? '', instance)]) rmdirSync(path);
    rmSync(folder, { recursive: true });
  }
});
