import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { AttachRequest, type AttachStart, type ShimServiceService } from '@flotilla/proto/flotilla/shim/v1/shim';
import type { Client } from '@flotilla/rpc';

/** A shim's client. */
export type ShimClient = Client<typeof ShimServiceService>;

/** One Attach call. */
export class Attachment {
  stdout = '';
  stderr = '';
  tty: boolean | undefined;
  exitCode: number | undefined;
  readonly done: Promise<void>;
  readonly attached: Promise<void>;
  readonly #requests: AttachRequest[] = [];
  readonly #stop = new AbortController();
  #wake: () => void = () => {};

  constructor(client: ShimClient, start: Partial<AttachStart>) {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.attached = promise;
    this.#send({ message: { $case: 'start', value: start } });
    this.done = this.#receive(client, resolve);
    this.done.catch(() => {});
  }

  stdin(text: string): void {
    this.#send({ message: { $case: 'stdin', value: Buffer.from(text) } });
  }

  closeStdin(): void {
    this.#send({ message: { $case: 'closeStdin', value: {} } });
  }

  resize(rows: number, columns: number): void {
    this.#send({ message: { $case: 'resize', value: { rows, columns } } });
  }

  /** Goes away for good. */
  leave(): void {
    this.#send({ message: { $case: 'leave', value: {} } });
  }

  /** Goes away as a client that was killed does. */
  cut(): void {
    this.#stop.abort();
  }

  /** Resolves once standard output has it. */
  async sees(text: string | RegExp): Promise<void> {
    const there = () => (typeof text === 'string' ? this.stdout.includes(text) : text.test(this.stdout));
    for (let i = 0; i < 3_000 && !there(); i++) await sleep(10);
    assert.ok(there(), `${text} in ${JSON.stringify(this.stdout)}`);
  }

  #send(request: Parameters<typeof AttachRequest.fromPartial>[0]): void {
    this.#requests.push(AttachRequest.fromPartial(request));
    this.#wake();
  }

  async *#outgoing(): AsyncGenerator<AttachRequest> {
    for (;;) {
      const next = this.#requests.shift();
      if (next !== undefined) yield next;
      else
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
    }
  }

  async #receive(client: ShimClient, attached: () => void): Promise<void> {
    for await (const { message } of client.attach(this.#outgoing(), { signal: this.#stop.signal })) {
      assert.equal(this.exitCode, undefined, 'nothing comes after the end');
      if (message?.$case === 'started') {
        this.tty = message.value.tty;
        attached();
      } else if (message?.$case === 'ended') {
        this.exitCode = message.value.exitCode;
      } else if (message?.$case === 'output') {
        assert.notEqual(this.tty, undefined, 'started comes first');
        const text = Buffer.from(message.value.data).toString('latin1');
        if (message.value.stream === 'OUTPUT_STREAM_STDERR') this.stderr += text;
        else this.stdout += text;
      }
    }
  }
}
