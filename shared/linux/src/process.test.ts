import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import process from 'node:process';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { nowUnixNano } from './clock.ts';
import { POLLIN, SIGCHLD, SIGKILL, SIGTERM } from './constants.ts';
import { getCapabilities } from './credentials.ts';
import { closeFd, pipe2, poll, readFd, writeFd } from './descriptors.ts';
import { libc } from './libc.ts';
import { getAffinity, getRlimit, setRlimit } from './limits.ts';
import { pidfdGetFd, pidfdOpen, pidfdSendSignal } from './pidfd.ts';
import { getNoNewPrivileges, setChildSubreaper, setProcessName } from './prctl.ts';
import { findProcess, getpid, getppid, isSameProcess, waitPidfd, waitpid } from './process.ts';
import { blockSignals, readSignalfd, signalfd, unblockSignals } from './signals.ts';
import { posixSpawn } from './spawn.ts';

const raise = libc.func('int raise(int signal)');
const nullFd = openSync('/dev/null', 'r+');
test.after(() => closeSync(nullFd));

const sh = (script: string, fds: readonly number[] = [nullFd, nullFd, nullFd]): number =>
  posixSpawn({ path: '/bin/sh', argv: ['sh', '-c', script], env: ['PATH=/usr/bin:/bin'], fds });

test('a spawned program gets exactly the descriptors that it was given, in order', () => {
  const { readFd: from, writeFd: to } = pipe2();
  // 3 and 4 change places with what has those numbers here, and nothing else is open.
  const pid = sh('echo to-three >&3; ls /proc/self/fd | tr "\\n" " " >&4', [nullFd, nullFd, nullFd, to, to]);
  assert.deepEqual(waitpid(pid), { pid, exitCode: 0, signal: undefined });
  const buffer = Buffer.alloc(100);
  const length = readFd(from, buffer)!;
  assert.match(buffer.toString('latin1', 0, length), /^to-three\n0 1 2 3 (4 )?(\d+ )?$/);
  closeFd(from);
  closeFd(to);
});

test('a program that is not there cannot be spawned', () => {
  assert.throws(() => posixSpawn({ path: '/no/such/program', argv: ['x'], env: [], fds: [nullFd] }), {
    code: 'ENOENT',
    syscall: 'posix_spawn',
    path: '/no/such/program',
  });
});

for (const [script, exit] of [
  ['exit 0', { exitCode: 0, signal: undefined }],
  ['exit 255', { exitCode: 255, signal: undefined }],
  ['kill -TERM $$', { exitCode: 143, signal: SIGTERM }],
  ['kill -SEGV $$', { exitCode: 139, signal: 11 }],
] as const) {
  test(`the end of \`${script}\` is told apart`, () => {
    const pid = sh(script);
    assert.deepEqual(waitpid(pid), { pid, ...exit });
    assert.throws(() => waitpid(pid), { code: 'ECHILD' });
  });
}

test('waiting can look without hanging and without reaping', () => {
  const pid = sh('read never', [pipe2().readFd, nullFd, nullFd]);
  const pidfd = pidfdOpen(pid);
  assert.equal(waitpid(pid, { noHang: true }), undefined);
  assert.equal(waitPidfd(pidfd, { noHang: true }), undefined);
  pidfdSendSignal(pidfd, SIGKILL);
  assert.deepEqual(poll([{ fd: pidfd, events: POLLIN }], 5_000), [POLLIN]);
  const exit = { pid, exitCode: 137, signal: SIGKILL };
  assert.deepEqual(waitPidfd(pidfd, { noReap: true }), exit);
  assert.equal(findProcess(pid)?.state, 'Z');
  assert.deepEqual(waitPidfd(pidfd), exit);
  assert.throws(() => pidfdSendSignal(pidfd, 0), { code: 'ESRCH' });
  assert.equal(findProcess(pid), undefined);
  closeFd(pidfd);
});

test('a process is known by pid and start time', () => {
  const own = findProcess(getpid())!;
  assert.equal(own.parentPid, getppid());
  assert.equal(isSameProcess(own.pid, own.startTime), true);
  assert.equal(isSameProcess(own.pid, own.startTime - 1), false);
});

test('signals wait in a signalfd', () => {
  blockSignals([SIGCHLD]);
  const fd = signalfd([SIGCHLD]);
  try {
    assert.deepEqual([...readSignalfd(fd)], []);
    raise(SIGCHLD); // to this thread: a signal to the process would find a thread of the runner that does not block it
    assert.deepEqual(poll([{ fd, events: POLLIN }], 1_000), [POLLIN]);
    assert.deepEqual([...readSignalfd(fd)], [SIGCHLD]);
  } finally {
    closeFd(fd);
    unblockSignals([SIGCHLD]);
  }
});

test("another process's descriptor can be copied", { skip: process.getuid?.() !== 0 && 'needs root' }, () => {
  const { readFd: from, writeFd: to } = pipe2();
  const own = pidfdOpen(getpid());
  const copy = pidfdGetFd(own, to);
  assert.equal(writeFd(copy, Buffer.from('!')), 1);
  assert.equal(readFd(from, Buffer.alloc(1)), 1);
  for (const fd of [from, to, own, copy]) closeFd(fd);
});

test('what prctl, prlimit, capget and sched_getaffinity say agrees with /proc', () => {
  const status = readFileSync('/proc/self/status', 'latin1');
  const field = (name: string): string => new RegExp(`^${name}:\\s+(.*)$`, 'm').exec(status)![1]!;
  const { effective, permitted, inheritable } = getCapabilities();
  assert.equal(effective, BigInt(`0x${field('CapEff')}`));
  assert.equal(permitted, BigInt(`0x${field('CapPrm')}`));
  assert.equal(inheritable, BigInt(`0x${field('CapInh')}`));
  assert.equal(getNoNewPrivileges(), field('NoNewPrivs') === '1');
  assert.equal(
    getAffinity().length,
    field('Cpus_allowed_list')
      .split(',')
      .reduce((sum, part) => {
        const [first, last] = part.split('-').map(Number);
        return sum + (last ?? first!) - first! + 1;
      }, 0),
  );
  const { hard } = getRlimit('RLIMIT_CORE');
  setRlimit('RLIMIT_CORE', { soft: 0n, hard });
  assert.deepEqual(getRlimit('RLIMIT_CORE'), { soft: 0n, hard });
  setProcessName('flotilla-test-with-a-long-name');
  assert.equal(readFileSync('/proc/self/comm', 'latin1'), 'flotilla-test-w\n');
  setChildSubreaper(false);
});

test('the clock has more than microseconds and agrees with Date', () => {
  const values = Array.from({ length: 100 }, nowUnixNano);
  assert.ok(values.some((value) => value % 1000n !== 0n));
  assert.ok(Math.abs(Number(nowUnixNano() / 1_000_000n) - Date.now()) < 1_000);
});

test('of a dead child that has not been reaped it is known whether it had executed a program', async () => {
  const url = (file: string) => JSON.stringify(new URL(file, import.meta.url));
  const script = `
    const { fork } = await import(${url('./fork.ts')});
    const { exitNow, hasExecuted, waitpid } = await import(${url('./process.ts')});
    const { spawn } = await import('node:child_process');
    const forked = fork();
    if (forked === 0) exitNow(134);
    waitpid(forked, { noReap: true });
    const { pid } = spawn('/bin/true');
    waitpid(pid, { noReap: true });
    console.log(JSON.stringify([hasExecuted(forked), hasExecuted(pid), hasExecuted(process.pid)]));
    waitpid(forked);
    console.log(hasExecuted(forked));
  `;
  const flags = ['--single-threaded', '--v8-pool-size=0', '--input-type=module', '--eval', script];
  const { stdout } = await promisify(execFile)(process.execPath, flags);
  assert.equal(stdout, '[false,true,true]\nfalse\n');
});
