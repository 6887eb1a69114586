import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createLogger } from '@flotilla/log';
import { type InstanceFiles, instanceFiles, makeInstanceFolders } from './instance-files.ts';
import { KeptProcess } from './kept-process.ts';
import { findRecordedProcess, type SeenProcess } from './process-record.ts';
import type { Release } from './release.ts';

const release: Release = { dir: '/', version: '0', node: '', services: [], keeperMain: undefined };
const log = createLogger({ service: 'keeper', level: 'silent' });
let folder: string;
let files: InstanceFiles;
let kept: KeptProcess[];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'flotilla-keeper-'));
  const paths = { root: join(folder, 'root'), run: join(folder, 'run'), instance: 'test' };
  files = instanceFiles(paths);
  makeInstanceFolders(paths);
  kept = [];
});
afterEach(async () => {
  for (const one of kept) await one.stop(1_000);
  rmSync(folder, { recursive: true });
});

function keep(script: string): KeptProcess {
  const logFd = openSync(join(folder, 'log'), 'a');
  const plan = { name: 'one', command: () => ({ command: '/bin/sh', args: ['-c', script] }), env: process.env, logFd };
  const one = new KeptProcess(plan, release, files, log);
  kept.push(one);
  one.start();
  return one;
}

async function running(other?: SeenProcess): Promise<SeenProcess> {
  for (let i = 0; i < 1_500; i += 1) {
    const found = findRecordedProcess(files, 'one');
    if (found !== undefined && found.pid !== other?.pid) return found;
    await sleep(20);
  }
  throw new Error('no new process within 30 s');
}

test('a process that is killed is started again', async () => {
  keep('exec sleep 600');
  const first = await running();
  first.signal('SIGKILL');
  assert.notEqual((await running(first)).pid, first.pid);
});

test('one that cannot start is tried again with longer and longer pauses', async () => {
  keep(`echo x >>${folder}/starts`);
  await sleep(1_000);
  const starts = readFileSync(join(folder, 'starts'), 'utf8').length / 2;
  assert.ok(starts >= 3 && starts <= 6, `${starts} starts in a second`);
});

test('one that is killed again and again before it is ready does not wait for long', async () => {
  keep(`echo x >>${folder}/starts; kill -KILL $$`);
  // With the pauses of one that cannot start: 50, 100, 200, 400, 800, 1600 ms before the seventh.
  const deadline = Date.now() + 20_000;
  const times: number[] = [];
  while (times.length < 10 && Date.now() < deadline) {
    const starts = existsSync(join(folder, 'starts')) ? readFileSync(join(folder, 'starts'), 'utf8').length / 2 : 0;
    while (times.length < starts) times.push(Date.now());
    await sleep(5);
  }
  const gaps = times.slice(1).map((time, i) => time - (times[i] ?? 0));
  assert.equal(gaps.length, 9);
  assert.ok(Math.min(...gaps.slice(4)) < 400, `pauses of ${gaps.join(', ')} ms`);
});

test('the process of an earlier keeper is left alone, and replaced when it ends', async () => {
  keep('exec sleep 600');
  const first = await running();
  const later = keep('exec sleep 601');
  await sleep(300);
  assert.equal((await running()).pid, first.pid);
  assert.ok(first.isAlive());
  // The earlier one stops, and its process with it, while the later one watches.
  await kept[0]?.stop(1_000);
  assert.ok(!first.isAlive());
  assert.notEqual((await running(first)).pid, first.pid);
  await later.stop(1_000);
});

test('stop asks, and insists when it is not heard', async () => {
  const one = keep(`trap '' TERM; echo ready >${folder}/ready; while :; do sleep 0.05; done`);
  const deaf = await running();
  while (true) {
    try {
      readFileSync(join(folder, 'ready'));
      break;
    } catch {
      await sleep(20);
    }
  }
  await one.stop(100);
  assert.ok(!deaf.isAlive());
  assert.equal(findRecordedProcess(files, 'one'), undefined);
});

test('another process with the recorded id is not taken for it', async () => {
  keep('exec sleep 600');
  const { pid } = await running();
  const [, startTime, boot] = readFileSync(files.startFile('one'), 'utf8').trim().split(' ');
  assert.equal(readFileSync(files.pidFile('one'), 'utf8'), `${pid}\n`);
  writeFileSync(files.startFile('two'), `${pid} ${Number(startTime) - 1} ${boot}\n`);
  assert.equal(findRecordedProcess(files, 'two'), undefined);
  writeFileSync(files.startFile('two'), `${pid} ${startTime} 00000000-0000-0000-0000-000000000000\n`);
  assert.equal(findRecordedProcess(files, 'two'), undefined);
  writeFileSync(files.startFile('two'), `${pid} ${startTime} ${boot}\n`);
  assert.equal(findRecordedProcess(files, 'two')?.pid, pid);
});
