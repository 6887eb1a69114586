import { createConnection } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { type ErrorCode, FlotillaError, statusNumbers } from '@flotilla/errors';
import { currentRequestId } from '@flotilla/log';
import { type LauncherError, LauncherReply, LauncherRequest } from '@flotilla/proto/flotilla/launcher/v1/launcher';
import type { Launched, Launcher, ReplacedShim } from '../domain/ports.ts';

export interface LauncherClientOptions {
  readonly socketPath: string;
  readonly shimDir: (containerId: string) => string;
  readonly deadlineMs: number;
}

const longestReplyBytes = 1 << 20;
const pauseMs = 20;
/** Who asks how things are does not want to wait for a launcher that is away. */
const stateDeadlineMs = 1_000;
const codes = new Map(Object.entries(statusNumbers).map(([code, number]) => [number, code as ErrorCode]));

/** Speaks launcher.v1: one request and one reply a connection, each behind its length. */
export class LauncherClient implements Launcher {
  readonly #options: LauncherClientOptions;

  constructor(options: LauncherClientOptions) {
    this.#options = options;
  }

  async launch(containerId: string, run: number): Promise<Launched> {
    const value = {
      containerId,
      run: BigInt(run),
      shimDir: this.#options.shimDir(containerId),
      requestId: currentRequestId() ?? '',
    };
    const reply = await this.#call({ $case: 'launch', value }, this.#options.deadlineMs);
    if (reply?.$case === 'launch') return reply.value;
    throw unexpected(reply?.$case);
  }

  async replace(containerId: string): Promise<ReplacedShim> {
    const shimDir = this.#options.shimDir(containerId);
    const value = { containerId, shimDir, requestId: currentRequestId() ?? '' };
    const reply = await this.#call({ $case: 'replace', value }, this.#options.deadlineMs);
    if (reply?.$case === 'replace') return reply.value;
    throw unexpected(reply?.$case);
  }

  async forkMode(): Promise<string> {
    const reply = await this.#call({ $case: 'state', value: {} }, Math.min(this.#options.deadlineMs, stateDeadlineMs));
    if (reply?.$case === 'state') return reply.value.forkMode;
    throw unexpected(reply?.$case);
  }

  /** Idempotent on the other side, so a connection that breaks is made again until the deadline. */
  async #call(request: LauncherRequest['request'], deadlineMs: number): Promise<LauncherReply['reply']> {
    const frame = encodeFrame(LauncherRequest.encode({ request }).finish());
    const deadline = performance.now() + deadlineMs;
    for (;;) {
      try {
        const { reply } = LauncherReply.decode(await exchange(this.#options.socketPath, frame, deadline));
        if (reply?.$case === 'error') throw toError(reply.value);
        return reply;
      } catch (error) {
        if (error instanceof FlotillaError) throw error;
        if (performance.now() + pauseMs >= deadline) throw unavailable(error, deadlineMs);
      }
      await sleep(pauseMs);
    }
  }
}

function unavailable(cause: unknown, deadlineMs: number): FlotillaError {
  return new FlotillaError('unavailable', `the launcher did not answer within ${deadlineMs / 1000} s`, {
    reason: 'SERVICE_UNAVAILABLE',
    metadata: { service: 'launcher', deadlineMs: String(deadlineMs) },
    cause,
  });
}

function exchange(path: string, frame: Uint8Array, deadline: number): Promise<Uint8Array> {
  const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
  const socket = createConnection({ path });
  const timer = setTimeout(
    () => socket.destroy(new Error('no answer in time')),
    Math.max(deadline - performance.now(), 0),
  );
  let received = Buffer.alloc(0);
  socket.on('data', (chunk: Buffer) => {
    received = Buffer.concat([received, chunk]);
    const whole = readFrame(received);
    if (whole !== undefined) resolve(whole);
    else if (received.length > longestReplyBytes) reject(new Error('the answer is too long'));
  });
  socket.on('error', reject);
  socket.on('close', () => reject(new Error('the connection was closed without an answer')));
  socket.write(frame);
  return promise.finally(() => {
    clearTimeout(timer);
    socket.destroy();
  });
}

/** Puts a message behind its length as a varint. */
export function encodeFrame(message: Uint8Array): Uint8Array {
  const head: number[] = [];
  let length = message.length;
  for (; length > 0x7f; length >>>= 7) head.push((length & 0x7f) | 0x80);
  head.push(length);
  return Buffer.concat([Buffer.from(head), message]);
}

/** The message once it is whole. */
export function readFrame(received: Uint8Array): Uint8Array | undefined {
  let length = 0;
  for (let at = 0; at < Math.min(received.length, 4); at++) {
    const byte = received[at]!;
    length |= (byte & 0x7f) << (7 * at);
    if ((byte & 0x80) !== 0) continue;
    return received.length < at + 1 + length ? undefined : received.subarray(at + 1, at + 1 + length);
  }
  return undefined;
}

function toError({ code, message, reason, metadata }: LauncherError): FlotillaError {
  return new FlotillaError(codes.get(code) ?? 'internal', message, { reason, metadata });
}

function unexpected(kind: string | undefined): Error {
  return new Error(`the launcher answered ${kind ?? 'nothing'}`);
}
