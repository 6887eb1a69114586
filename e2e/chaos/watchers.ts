import { setTimeout as sleep } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import { waitFor } from '../harness/wait.ts';
import { codeOf, type PatientClient } from './patient-client.ts';

export type Stream = 'OUTPUT_STREAM_STDOUT' | 'OUTPUT_STREAM_STDERR';

/** What a container wrote, as somebody saw it. */
export type Seen = Record<Stream, string>;

/** Somebody who watches a container's output from its beginning to its end, through all that happens to the engine. */
export interface Watcher {
  readonly name: string;
  readonly seen: Seen;
  /** Until there is nothing more to see, half a minute at the most; what was wrong. */
  end(): Promise<readonly string[]>;
}

abstract class ResumingWatcher implements Watcher {
  abstract readonly name: string;
  readonly seen: Seen = { OUTPUT_STREAM_STDOUT: '', OUTPUT_STREAM_STDERR: '' };
  protected readonly client: PatientClient;
  protected readonly container: string;
  protected readonly wrong: string[] = [];
  readonly #abort = new AbortController();
  #running: Promise<void> | undefined;

  constructor(client: PatientClient, container: string) {
    this.client = client;
    this.container = container;
  }

  begin(): this {
    this.#running ??= this.#watch();
    return this;
  }

  async end(): Promise<readonly string[]> {
    const late = setTimeout(() => {
      this.wrong.push('its end was not told within 30 s');
      this.#abort.abort();
    }, 30_000);
    await this.#running;
    clearTimeout(late);
    return this.wrong.map((text) => `${this.name}: ${text}`);
  }

  /** One connection, to the end of what there is to see. */
  protected abstract read(signal: AbortSignal): Promise<void>;

  async #watch(): Promise<void> {
    while (!this.#abort.signal.aborted) {
      try {
        return await this.read(this.#abort.signal);
      } catch (error) {
        if (this.#abort.signal.aborted) return;
        if (codeOf(error) !== status.UNAVAILABLE) return void this.wrong.push((error as Error).message);
      }
      await sleep(50);
    }
  }
}

/** `logs --follow` that goes on behind the last entry it saw. */
export class Follower extends ResumingWatcher {
  readonly name = 'a follower of the log';
  #cursor = '';

  protected async read(signal: AbortSignal): Promise<void> {
    const request = { container: this.container, follow: true, stdout: true, stderr: true, after_cursor: this.#cursor };
    for await (const { stream, data, cursor } of this.client.grpc.stream(
      'ContainerService',
      'StreamLogs',
      request,
      signal,
    )) {
      this.seen[stream as Stream] += String(data);
      this.#cursor = String(cursor);
    }
  }
}

/** An attached client that goes on at the byte up to which it came. */
export class AttachedClient extends ResumingWatcher {
  readonly name = 'an attached client';
  #run: string | undefined;

  /** Attached before the container starts, it sees all of it. */
  async untilConnected(): Promise<void> {
    await waitFor(`attached to ${this.container}`, () => this.#run !== undefined);
  }

  protected async read(signal: AbortSignal): Promise<void> {
    const start = { container: this.container, stdout: true, stderr: true, resume: this.#resume() };
    for await (const answer of this.client.grpc.converse('ContainerService', 'AttachContainer', [{ start }], signal)) {
      const { connected, output, ended } = answer as AttachAnswer;
      if (connected) this.#run = connected.run;
      if (output) this.#see(output);
      if (ended) return;
    }
  }

  #resume(): object | undefined {
    const { OUTPUT_STREAM_STDOUT: stdout, OUTPUT_STREAM_STDERR: stderr } = this.seen;
    if (this.#run === undefined) return undefined;
    return { run: this.#run, stdout_position: String(stdout.length), stderr_position: String(stderr.length) };
  }

  #see({ stream, data, position }: Output): void {
    const before = this.seen[stream].length;
    if (Number(position) !== before) this.wrong.push(`${stream} at ${position}, ${before} was expected`);
    this.seen[stream] += String(data);
  }
}

interface Output {
  readonly stream: Stream;
  readonly data: Uint8Array;
  readonly position: string;
}

interface AttachAnswer {
  readonly connected?: { readonly run: string } | null;
  readonly output?: Output | null;
  readonly ended?: object | null;
}
