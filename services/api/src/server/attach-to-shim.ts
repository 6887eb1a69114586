import { setTimeout as sleep } from 'node:timers/promises';
import type { FlotillaError } from '@flotilla/errors';
import type { AttachStart, AttachStarted } from '@flotilla/proto/flotilla/shim/v1/shim';
import type { OutputChunk } from '@flotilla/proto/flotilla/v1/stream';
import type { SupervisorClient } from '../adapters/owners.ts';
import type { ShimConnections } from '../adapters/shim-connections.ts';
import { Patience } from '../domain/resume.ts';
import { InputTaken } from './input-taken.ts';
import { OutputPlace } from './output-place.ts';
import type { ClientInput } from './read-input.ts';
import { callShim } from './shim-call.ts';

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
  /** Number of the run that is meant; another one is not its continuation. */
  readonly run: bigint | undefined;
  /** The connection to the shim broke: the error with which the streams end when the process has ended meanwhile. */
  readonly findEnd: () => Promise<FlotillaError | undefined>;
  /** What is thrown when another run of the container is there. */
  readonly otherRun: () => FlotillaError;
  readonly resumeMs: number;
}

/** The start, output, or the end. */
export interface ShimEvent {
  /** Once. */
  readonly started?: AttachStarted;
  readonly output?: OutputChunk;
  /** The process has exited. */
  readonly exitCode?: number;
}

/**
 * Carries the streams of a process between a client and the process's shim until the process ends or the client detaches.
 * When the shim is replaced meanwhile, attaches to its successor at the same address: a container's output goes on where
 * it had come to, and input as well when the shim makes way for another (`service upgrade`). Input that was on its way to a shim
 * that was killed may be lost, and is never sent twice.
 */
export async function* attachToShim(
  address: string,
  start: AttachStart,
  input: ClientInput,
  { shims, signal, run, findEnd, otherRun, resumeMs }: AttachOptions,
): AsyncGenerator<ShimEvent> {
  const patience = new Patience(resumeMs);
  const place = new OutputPlace(start);
  const detach = new AbortController();
  void input.detached.then(() => detach.abort());
  const both = AbortSignal.any([signal, detach.signal]);
  let known = false;
  while (!both.aborted) {
    using shim = shims.use(address);
    const taken = new InputTaken(input.queue);
    try {
      for await (const { message } of callShim(shim.client, place.next, input, both)) {
        patience.restore();
        if (message?.$case === 'started') {
          if (run !== undefined && message.value.run !== 0n && message.value.run !== run) throw otherRun();
          place.begin(message.value);
          if (!known) yield { started: message.value };
          known = true;
        }
        if (message?.$case === 'inputTaken') taken.note(message.value);
        if (message?.$case === 'output') {
          place.pass(message.value);
          yield { output: message.value };
        }
        if (message?.$case === 'ended') {
          yield { exitCode: message.value.exitCode };
          return;
        }
      }
      taken.end(undefined);
    } catch (error) {
      taken.end(error);
      if (both.aborted || !patience.allows(error)) throw error;
    }
    if (both.aborted) break;
    await sleep(20, undefined, { signal });
    const end = await findEnd();
    if (end !== undefined) throw end;
  }
}
