import { setTimeout as sleep } from 'node:timers/promises';
import { FlotillaError } from '@flotilla/errors';
import type { Logger } from '@flotilla/log';
import {
  ReportExecExitRequest,
  ReportOomRequest,
  ReportTaskExitRequest,
  SupervisorServiceService,
} from '@flotilla/proto/flotilla/supervisor/v1/supervisor';
import { type Client, connect } from '@flotilla/rpc';

const attemptMs = 10_000;
const firstPauseMs = 50;
const longestPauseMs = 2_000;

/** Tells the supervisor what ended, in order, each until it was answered: the supervisor may be away for days. */
export class ExitReporter implements Disposable {
  readonly #address: string;
  readonly #log: Logger;
  readonly #stop = new AbortController();
  #client: Client<typeof SupervisorServiceService> | undefined;
  #last: Promise<void> = Promise.resolve();

  constructor(address: string, log: Logger) {
    this.#address = address;
    this.#log = log;
  }

  /** Resolves once the supervisor has stored it. */
  reportExec(exit: ReportExecExitRequest): Promise<void> {
    const request = ReportExecExitRequest.create(exit);
    return this.#enqueue((client, signal) => client.reportExecExit(request, { signal, deadlineMs: attemptMs }));
  }

  /** Resolves once the supervisor has stored it, and all that was reported before. */
  reportTask(exit: ReportTaskExitRequest): Promise<void> {
    const request = ReportTaskExitRequest.create(exit);
    return this.#enqueue((client, signal) => client.reportTaskExit(request, { signal, deadlineMs: attemptMs }));
  }

  /** Resolves once the supervisor has stored it, or has said that it is too old to. */
  reportOom(kills: ReportOomRequest): Promise<void> {
    const request = ReportOomRequest.create(kills);
    return this.#enqueue((client, signal) =>
      client.reportOom(request, { signal, deadlineMs: attemptMs }).catch((error: unknown) => {
        if (!(error instanceof FlotillaError) || error.code !== 'unimplemented') throw error;
      }),
    );
  }

  /** Gives up. */
  [Symbol.dispose](): void {
    this.#stop.abort();
    this.#client?.[Symbol.dispose]();
  }

  #enqueue(
    call: (client: Client<typeof SupervisorServiceService>, signal: AbortSignal) => Promise<unknown>,
  ): Promise<void> {
    this.#last = this.#last.then(() => this.#untilAnswered(call));
    return this.#last;
  }

  async #untilAnswered(
    call: (client: Client<typeof SupervisorServiceService>, signal: AbortSignal) => Promise<unknown>,
  ): Promise<void> {
    const { signal } = this.#stop;
    this.#client ??= connect(SupervisorServiceService, { address: this.#address, name: 'supervisor' });
    for (let pauseMs = firstPauseMs; !signal.aborted; pauseMs = Math.min(2 * pauseMs, longestPauseMs)) {
      try {
        await call(this.#client, signal);
        return;
      } catch (error) {
        // The container is gone: nobody is left who wants to know.
        if (error instanceof FlotillaError && error.code === 'not_found') return;
        this.#log.debug({ err: error }, 'the supervisor has not taken an exit yet');
      }
      await sleep(pauseMs, undefined, { signal }).catch(() => {});
    }
  }
}
