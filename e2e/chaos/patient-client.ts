import { setTimeout as sleep } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import { GrpcClient } from '../harness/grpc-client.ts';

type Message = Record<string, unknown>;

/** What was asked of the engine and how long the longest answer took: the load's own record. */
export class CallRecord {
  calls = 0;
  repeated = 0;
  longestMs = 0;
  longest = '';
  readonly failures: string[] = [];

  finished(method: string, tookMs: number): void {
    this.calls += 1;
    if (tookMs <= this.longestMs) return;
    this.longestMs = tookMs;
    this.longest = method;
  }
}

/** Asks again only what the contract allows to be asked again, and only when the engine was away. */
export class PatientClient implements Disposable {
  readonly grpc: GrpcClient;
  readonly #record: CallRecord;

  constructor(socketPath: string, record: CallRecord) {
    this.grpc = new GrpcClient(socketPath);
    this.#record = record;
  }

  /** `fine` names an error that means success when an earlier asking had its effect but its answer was lost. */
  async call(service: string, method: string, request: Message, fine?: number): Promise<Message> {
    const beganAt = performance.now();
    for (let repeated = false; ; repeated = true) {
      try {
        const answer = await this.grpc.call(service, method, request);
        if (method !== 'WaitContainer') this.#record.finished(method, performance.now() - beganAt);
        return answer;
      } catch (error) {
        if (repeated && fine !== undefined && codeOf(error) === fine) return {};
        if (!mayAskAgain(method, error) || performance.now() - beganAt > 60_000) {
          this.#record.failures.push(`${method}: ${(error as Error).message}`);
          throw error;
        }
        this.#record.repeated += 1;
        await sleep(50);
      }
    }
  }

  /**
   * Starts a container for its first run. Asked again blindly, an answer that was lost would start a container anew that
   * has ended meanwhile: the number of its run, which is the answer, says whether the first asking had its effect.
   */
  async startOnce(container: string): Promise<number> {
    const beganAt = performance.now();
    for (;;) {
      try {
        const { run } = await this.grpc.call('ContainerService', 'StartContainer', { container });
        this.#record.finished('StartContainer', performance.now() - beganAt);
        return Number(run);
      } catch (error) {
        if (!mayAskAgain('StartContainer', error) || performance.now() - beganAt > 60_000) {
          this.#record.failures.push(`StartContainer: ${(error as Error).message}`);
          throw error;
        }
        this.#record.repeated += 1;
      }
      const run = await this.#startedRun(container);
      if (run > 0) {
        this.#record.finished('StartContainer', performance.now() - beganAt);
        return run;
      }
      await sleep(50);
    }
  }

  /** Waits while a start is under way, then the number of its run, 0 if it failed: that leaves its error behind. */
  async #startedRun(container: string): Promise<number> {
    for (;;) {
      const answer = await this.call('ContainerService', 'GetContainer', { container });
      const { status: is } = (answer as { container?: { status?: Status } }).container ?? {};
      if (is?.state !== 'CONTAINER_STATE_STARTING') return is?.error === '' ? Number(is.run) : 0;
      await sleep(50);
    }
  }

  [Symbol.dispose](): void {
    this.grpc[Symbol.dispose]();
  }
}

interface Status {
  readonly run: string;
  readonly state: string;
  readonly error: string;
}

export function codeOf(error: unknown): number | undefined {
  return (error as { code?: number }).code;
}

function mayAskAgain(method: string, error: unknown): boolean {
  const code = codeOf(error);
  return code === status.UNAVAILABLE || (method === 'WaitContainer' && code === status.DEADLINE_EXCEEDED);
}
