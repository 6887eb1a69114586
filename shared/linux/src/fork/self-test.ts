import { readdirSync, readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { POLLIN, SIGKILL } from '../constants.ts';
import { closeFd, poll } from '../descriptors.ts';
import { pidfdOpen, pidfdSendSignal } from '../pidfd.ts';
import { exitNow, findProcess, waitPidfd } from '../process.ts';
import { fork, restartLoop } from './verified-fork.ts';

/** A host that emulates its processor takes seconds. */
const timeoutMs = 15_000;
/** A child that waits so long without having worked hangs: it needs microseconds of input and output. */
const stuckMs = 2_000;
const lookMs = 100;
const worked = 42;
setFlagsFromString('--expose-gc');
const collectGarbage: () => void = runInNewContext('gc');

/** `--v8-pool-size=0` leaves one. */
const mostHelpers = 1;

/**
 * Whether the verified fork works in this process: `undefined`, or what is wrong. V8 may not have helper threads, which
 * no child has, though on a busy host a child may get by without them. A child that only computes (and
 * collects garbage) and one that goes on asynchronously must both do their work in time. Call it while nothing else is
 * under way, for the second child goes on with everything that waits here.
 */
export async function selfTestFork(): Promise<string | undefined> {
  try {
    const helpers = countHelpers();
    if (helpers > mostHelpers) return `V8 has ${helpers} helper threads: the flag --v8-pool-size=0 is missing`;
    for (const [kind, work] of [
      ['synchronous', compute],
      ['asynchronous', waitForThings],
    ] as const) {
      const pid = fork();
      if (pid === 0) {
        await runChild(work);
      }
      const problem = howItEnded(pid);
      if (problem !== undefined) return `a forked child that is ${kind} ${problem}`;
    }
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** By the names that Node.js gives them: /proc/pid/task/tid/comm, proc_pid_comm(5). */
function countHelpers(): number {
  const names = readdirSync('/proc/self/task').map((tid) => readFileSync(`/proc/self/task/${tid}/comm`, 'utf8'));
  return names.filter((name) => name.includes('V8Worker')).length;
}

async function runChild(work: () => boolean | Promise<boolean>): Promise<never> {
  try {
    exitNow((await work()) ? worked : 1);
  } catch {
    exitNow(2);
  }
}

/** Takes memory, and gives it back in a full collection, for which V8 would ask its helper threads. */
function compute(): boolean {
  let checksum = 0;
  for (let round = 0; round < 2; round++) {
    const things = Array.from({ length: 20_000 }, (_, k) => ({ k, text: String(k) }));
    for (const thing of things) checksum += JSON.stringify(thing).length;
  }
  collectGarbage();
  return checksum > 0;
}

async function waitForThings(): Promise<boolean> {
  restartLoop();
  const [status] = await Promise.all([readFile('/proc/self/status', 'utf8'), sleep(2)]);
  return compute() && status.includes('VmRSS');
}

function howItEnded(pid: number): string | undefined {
  const pidfd = pidfdOpen(pid);
  try {
    const ended = waitForEnd(pid, pidfd);
    if (!ended) pidfdSendSignal(pidfd, SIGKILL);
    const exit = waitPidfd(pidfd);
    if (!ended) return 'did not finish';
    return exit?.exitCode === worked ? undefined : `ended with exit code ${exit?.exitCode}`;
  } finally {
    closeFd(pidfd);
  }
}

/** False when it hangs, or works for ever. */
function waitForEnd(pid: number, pidfd: number): boolean {
  const startedAt = performance.now();
  let [workedAt, ticks] = [startedAt, 0];
  while (poll([{ fd: pidfd, events: POLLIN }], lookMs)[0] === 0) {
    const now = performance.now();
    const { state = 'X', cpuTicks = 0 } = findProcess(pid) ?? {};
    if (state !== 'S' || cpuTicks !== ticks) [workedAt, ticks] = [now, cpuTicks]; // On a busy host it waits for its turn.
    if (now - workedAt > stuckMs || now - startedAt > timeoutMs) return false;
  }
  return true;
}
