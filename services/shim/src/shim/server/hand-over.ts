import { setTimeout as sleep } from 'node:timers/promises';
import { FlotillaError } from '@flotilla/errors';
import { closeWatched, pidfdOpen, type ReadableWatch, watchReadable } from '@flotilla/linux';
import { HandOverResponse } from '@flotilla/proto/flotilla/shim/v1/shim';
import type { ProcessStreams } from '../streams/process-streams.ts';
import { notRunning } from '../task/exec.ts';
import type { ExecTable } from '../task/exec-table.ts';
import type { Init } from '../task/init.ts';
import type { Reaper } from '../task/reaper.ts';
import type { Task } from '../task/task.ts';

/** How long clients may take to fetch what they were sent. */
const farewellMs = 2_000;
const flushMs = 50;
/** How long what was taken of a client's input may take to be written. */
const inputMs = 500;

export interface HandOverOptions {
  readonly init: Init;
  readonly task: Task;
  readonly streams: ProcessStreams;
  readonly execs: ExecTable;
  readonly reaper: Reaper;
}

/** This shim's side of its replacement: from the answer on it touches nothing, unless the other one ends first. */
export class HandOver {
  readonly #options: HandOverOptions;
  #successor: { readonly pidfd: number; readonly watch: ReadableWatch } | undefined;

  constructor(options: HandOverOptions) {
    this.#options = options;
  }

  get isUnderWay(): boolean {
    return this.#successor !== undefined;
  }

  /** UNAVAILABLE / SHIM_REPLACED: to be asked again, of the one that takes over. */
  check(): void {
    if (this.isUnderWay) throw replaced();
  }

  /** FAILED_PRECONDITION / TASK_NOT_RUNNING, UNAVAILABLE / SHIM_REPLACED when another one is about to take over. */
  async begin(shimPid: number): Promise<HandOverResponse> {
    const { task, streams, execs, reaper } = this.#options;
    this.check();
    const { name } = task.state;
    if (name !== 'running' && name !== 'paused') throw notRunning('the container');
    const pidfd = pidfdOpen(shimPid);
    this.#successor = { pidfd, watch: watchReadable(pidfd, () => this.#goOn()) };
    reaper.stop();
    const all = [streams, ...execs.running.map((exec) => exec.streams)];
    // A client of an earlier release does not know what was taken, and has nothing to send again.
    await Promise.all(all.map((one) => one.inputWritten(inputMs)));
    // Where the other one has ended meanwhile, nobody would set going again what is stopped from here on.
    if (!this.isUnderWay) throw replaced();
    for (const one of all) one.stopInput();
    await sleep(0); // Clients are told how much was taken before they are told to go.
    for (const one of all) one.suspend(replaced());
    if (!this.isUnderWay) {
      for (const one of all) one.goOn();
      throw replaced();
    }
    await task.attachments.waitForNone(farewellMs);
    // Their calls are over; what they end with is with the kernel some turns of the loop later, and this process is killed soon.
    await sleep(flushMs);
    return HandOverResponse.fromPartial({
      descriptors: streams.descriptors(),
      execs: execs.unfinished.map(({ execId, pid, pidfd: execPidfd, streams: ends, exit }) => ({
        execId,
        pid,
        descriptors: { ...(exit === undefined ? { pidfd: execPidfd } : {}), ...ends.descriptors() },
        opened: ends.isOpen,
        ...exit,
      })),
      paused: name === 'paused',
    });
  }

  /** The other one has ended, and this one lives: everything is as before. */
  #goOn(): void {
    const { streams, execs, reaper } = this.#options;
    if (this.#successor === undefined) return;
    closeWatched(this.#successor.watch, this.#successor.pidfd);
    this.#successor = undefined;
    for (const one of [streams, ...execs.running.map((exec) => exec.streams)]) one.goOn();
    reaper.start();
  }
}

function replaced(): FlotillaError {
  return new FlotillaError('unavailable', 'another shim takes over this container: ask again', {
    reason: 'SHIM_REPLACED',
  });
}
