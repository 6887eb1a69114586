import { setTimeout as sleep } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import { GrpcClient } from '../harness/grpc-client.ts';

type Message = Record<string, unknown>;

/** So long an engine may be away, or say that its disk is full, before a call counts as failed. */
const patienceMs = 60_000;

/** What was asked of the engine and how long the longest answer took: the load's own record. */
export class CallRecord {
  calls = 0;
  repeated = 0;
  /** Answers that said, clearly, that the disk is full. */
  refused = 0;
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
  call(service: string, method: string, request: Message, fine?: number): Promise<Message> {
    return this.patiently(method, () => this.grpc.call(service, method, request), fine);
  }

  /** The same for a call with streams. */
  async patiently(method: string, ask: () => Promise<Message>, fine?: number): Promise<Message> {
    const beganAt = performance.now();
    for (let repeated = false; ; repeated = true) {
      try {
        const answer = await ask();
        if (method !== 'WaitContainer') this.#record.finished(method, performance.now() - beganAt);
        return answer;
      } catch (error) {
        if (repeated && fine !== undefined && codeOf(error) === fine) return {};
        if (!mayAskAgain(method, error) || performance.now() - beganAt > patienceMs) {
          this.#record.failures.push(`${method}: ${(error as Error).message}`);
          throw error;
        }
        if (isDiskFull(error)) this.#record.refused += 1;
        else this.#record.repeated += 1;
        await sleep(50);
      }
    }
  }

  /** Starts a container that has never run; the number of its run. */
  async start(container: string): Promise<number> {
    const { run } = await this.call('ContainerService', 'StartContainer', { container, after_run: '0' });
    return Number(run);
  }

  /** How a container is, by the engine's word. */
  async status(container: string): Promise<Status> {
    const answer = await this.call('ContainerService', 'GetContainer', { container });
    const { status: is } = (answer as { container?: { status?: Status } }).container ?? {};
    if (is === undefined) throw new Error(`GetContainer of ${container} answered without a status`);
    return is;
  }

  [Symbol.dispose](): void {
    this.grpc[Symbol.dispose]();
  }
}

export interface Status {
  readonly run: string;
  readonly state: string;
  readonly error: string;
  readonly init_pid: number;
  readonly exit_code: number;
  readonly restarting: boolean;
}

export function codeOf(error: unknown): number | undefined {
  return (error as { code?: number }).code;
}

/** The engine's clear refusal, which changes nothing. */
export function isDiskFull(error: unknown): boolean {
  return codeOf(error) === status.RESOURCE_EXHAUSTED && /disk is full/.test((error as Error).message);
}

function mayAskAgain(method: string, error: unknown): boolean {
  const code = codeOf(error);
  if (code === status.UNAVAILABLE || isDiskFull(error)) return true;
  // CREATE_FAILED: an earlier asking, which is not told apart from this one, came to nothing.
  if (method === 'CreateContainer' && code === status.ABORTED) return true;
  return method === 'WaitContainer' && code === status.DEADLINE_EXCEEDED;
}
