import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { after, test } from 'node:test';
import { belongsTo, findRecordedProcess } from './recorded-process.ts';

const run = mkdtempSync('/tmp/fl-cli-');
after(() => rmSync(run, { recursive: true }));
mkdirSync(join(run, 'pids'));
const stat = readFileSync('/proc/self/stat', 'utf8');
const startTime = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
const record = (name: string, text: string) => writeFileSync(join(run, 'pids', `${name}.start`), text);

test('a process is known by its id, its time of start and the boot', () => {
  record('api', `${process.pid} ${startTime} ${boot}\n`);
  assert.equal(findRecordedProcess(run, 'api')?.pid, process.pid);
});

const strangers: readonly (readonly [why: string, text: string])[] = [
  ['another process with the same id', `${process.pid} 1 ${boot}\n`],
  ['a process of an earlier boot', `${process.pid} ${startTime} ${'0'.repeat(36)}\n`],
  ['a process that has ended', `4194303 1 ${boot}\n`],
  ['half a record', `${process.pid}`],
];
for (const [why, text] of strangers) {
  test(`${why} is not it`, () => {
    record('image', text);
    assert.equal(findRecordedProcess(run, 'image'), undefined);
  });
}

test('a service without a record does not run', () => assert.equal(findRecordedProcess(run, 'network'), undefined));

test('a process of another instance is not ours', () => assert.equal(belongsTo(run, process.pid), false));
