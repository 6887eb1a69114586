import assert from 'node:assert/strict';
import { closeSync, openSync } from 'node:fs';
import { release } from 'node:os';
import { test } from 'node:test';
import { POLLHUP, POLLIN, SIGKILL } from './constants.ts';
import { closeFd, poll } from './descriptors.ts';
import { pidfdExitInfo, pidfdOpen, pidfdSendSignal } from './pidfd.ts';
import { waitpid } from './process.ts';
import { posixSpawn } from './spawn.ts';

const [major = 0, minor = 0] = release().split('.').map(Number);
const isKnown = major > 6 || (major === 6 && minor >= 15);
const nullFd = openSync('/dev/null', 'r+');
test.after(() => closeSync(nullFd));

for (const { title, script, exit } of [
  { title: 'its exit code', script: 'exit 3', exit: { exitCode: 3, signal: undefined } },
  { title: 'the signal that killed it', script: 'exec sleep 60', exit: { exitCode: 137, signal: SIGKILL } },
]) {
  test(`of a process that has been reaped a pidfd tells ${title}, where the kernel can`, () => {
    const pid = posixSpawn({
      path: '/bin/sh',
      argv: ['sh', '-c', script],
      env: ['PATH=/usr/bin:/bin'],
      fds: [nullFd, nullFd, nullFd],
    });
    const pidfd = pidfdOpen(pid);
    if (exit.signal !== undefined) {
      assert.equal(pidfdExitInfo(pidfd), undefined, 'it lives');
      pidfdSendSignal(pidfd, exit.signal);
    }
    assert.deepEqual(poll([{ fd: pidfd, events: POLLIN }], 10_000), [POLLIN]);
    assert.equal(pidfdExitInfo(pidfd), undefined, 'nobody has reaped it');
    assert.deepEqual(waitpid(pid), { pid, ...exit });
    assert.deepEqual(pidfdExitInfo(pidfd), isKnown ? exit : undefined);
    if (isKnown) assert.deepEqual(poll([{ fd: pidfd, events: 0 }], 0), [POLLHUP], 'which poll(2) tells apart');
    closeFd(pidfd);
  });
}
