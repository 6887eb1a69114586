import { setTimeout as sleep } from 'node:timers/promises';
import type { AttachRequest, AttachStart } from '@flotilla/proto/flotilla/shim/v1/shim';
import type { OutputChunk } from '@flotilla/proto/flotilla/v1/stream';
import type { SupervisorClient } from '../adapters/owners.ts';
import type { ShimConnections } from '../adapters/shim-connections.ts';
import { Patience } from '../domain/resume.ts';
import type { ClientInput } from './read-input.ts';

/** What carrying streams needs. */
export interface StreamOptions {
  readonly supervisor: SupervisorClient;
  readonly shims: ShimConnections;
  /** How long a stream is kept for while the other side is away, milliseconds. */
  readonly resumeMs: number;
}

export interface AttachOptions {
  readonly shims: ShimConnections;
  readonly signal: AbortSignal;
  /** Where the same process's shim is now, when the connection to it broke; undefined when the process has ended. */
  readonly find: () => Promise<string | undefined>;
  readonly resumeMs: number;
}

/** Output, or the end. */
export interface ShimEvent {
  readonly output?: OutputChunk;
  /** The process has exited. */
  readonly exitCode?: number;
}

/**
 * Carries the streams of a process between a client and the process's shim until the process ends or the client detaches.
 * When the shim is replaced meanwhile, attaches to its successor.
 */
export async function* attachToShim(
  firstAddress: string,
  start: AttachStart,
  input: ClientInput,
  { shims, signal, find, resumeMs }: AttachOptions,
): AsyncGenerator<ShimEvent> {
  const patience = new Patience(resumeMs);
  const detach = new AbortController();
  void input.detached.then(() => detach.abort());
  const both = AbortSignal.any([signal, detach.signal]);
  let address: string | undefined = firstAddress;
  while (address !== undefined && !both.aborted) {
    using shim = shims.use(address);
    try {
      for await (const { message } of shim.client.attach(requestsOf(start, input), { signal: both })) {
        patience.restore();
        if (message?.$case === 'output') yield { output: message.value };
        if (message?.$case === 'ended') {
          yield { exitCode: message.value.exitCode };
          return;
        }
      }
    } catch (error) {
      if (input.isDetached) return;
      if (signal.aborted || !patience.allows(error)) throw error;
    }
    await sleep(50, undefined, { signal });
    address = await findAgain(find, patience, signal);
  }
}

async function* requestsOf(start: AttachStart, { queue }: ClientInput): AsyncGenerator<AttachRequest> {
  yield { message: { $case: 'start', value: start } };
  yield* queue;
}

async function findAgain(find: AttachOptions['find'], patience: Patience, signal: AbortSignal) {
  for (;;) {
    try {
      return await find();
    } catch (error) {
      if (signal.aborted || !patience.allows(error)) throw error;
    }
    await sleep(100, undefined, { signal });
  }
}
