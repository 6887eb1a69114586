import { POLLIN, SIGKILL } from '../constants.ts';
import { closeFd, pipe2, poll, readFd, writeFd } from '../descriptors.ts';
import { libc, self } from '../libc.ts';
import { exitNow, getpid, kill, waitpid } from '../process.ts';
import { check } from '../syscall-error.ts';
import { countFork, countReplaced } from './counts.ts';
import { hasMemoryOf, makeForkable } from './memory-maps.ts';

export { makeForkable } from './memory-maps.ts';

// Forks a Node.js so that the child goes on running JavaScript. Needs the flags `--single-threaded --v8-pool-size=0`:
// threads do not survive a fork, and a child that waits for V8's helpers hangs at its first collection.

const cFork = libc.func('int fork()');
const cDefaultLoop = self.func('void *uv_default_loop()');
const cLoopFork = self.func('int uv_loop_fork(void *loop)');

const mostReplacements = 20;
const verdictTimeoutMs = 5_000;
const good = Buffer.from('y');
const verdict = Buffer.allocUnsafeSlow(1);

/**
 * fork(2), verified: returns 0 in the child, its pid in the parent. The parent stands still until the child has compared
 * its memory map with the parent's and found nothing missing; a child that misses a page, dies or does not answer is
 * reaped and replaced. `process.pid` and everything asynchronous in the child are the parent's: it must end with
 * exitNow() or execve(), and call restartLoop() before it waits for anything.
 */
export function fork(): number {
  for (let attempt = 0; attempt <= mostReplacements; attempt++) {
    const pid = forkOnce();
    if (pid !== undefined) return pid;
    countReplaced();
  }
  throw new Error(`fork: ${mostReplacements} children in a row lacked memory of their parent`);
}

function forkOnce(): number | undefined {
  const { readFd: verdictFd, writeFd: answerFd } = pipe2();
  const parentPid = getpid();
  makeForkable();
  const pid = check(cFork(), 'fork');
  if (pid === 0) {
    if (!hasMemoryOf(parentPid)) exitNow(1);
    writeFd(answerFd, good);
    closeFd(answerFd);
    closeFd(verdictFd);
    return 0;
  }
  countFork();
  closeFd(answerFd);
  const answered = poll([{ fd: verdictFd, events: POLLIN }], verdictTimeoutMs)[0] !== 0;
  const isGood = answered && readFd(verdictFd, verdict) === 1;
  closeFd(verdictFd);
  if (isGood) return pid;
  if (!answered) kill(pid, SIGKILL);
  waitpid(pid);
  return undefined;
}

/**
 * In a forked child that goes on asynchronously: gives it an event loop of its own (uv_loop_fork). The parent must have
 * had no open handle, no timer, socket, watcher or server, because the child would have it too. Before anything that
 * opens a descriptor, and not after close_range(2) over descriptors that libuv holds.
 */
export function restartLoop(): void {
  const error: number = cLoopFork(cDefaultLoop());
  if (error !== 0) throw new Error(`uv_loop_fork: ${error}`);
}
