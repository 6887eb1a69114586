import {
  JsonLogEncoder,
  type LinePosition,
  longestLineBytes,
  type RecordTail,
  recordTail,
} from './json-log-encoder.ts';
import { RotatingFile, type RotatingFileOptions } from './rotating-file.ts';

const newline = 0x0a;

export type LogStream = 'stdout' | 'stderr';

export interface JsonLogOptions extends RotatingFileOptions {
  /** Told when the file takes no records: they are lost, the container goes on. Once until writing works again. */
  readonly onFailure: (error: unknown) => void;
}

/** An unfinished line, across chunks. */
interface StreamState extends LinePosition {
  /** Made when a chunk first ends inside a line. */
  pending: Buffer | undefined;
  length: number;
}

/** A container's output as Docker's json-file log: one record a line, lines over 16 KiB in pieces. */
export class JsonLog implements Disposable {
  readonly #encoder: JsonLogEncoder;
  readonly #file: RotatingFile;
  readonly #onFailure: (error: unknown) => void;
  readonly #streams: Record<LogStream, StreamState> = { stdout: newState(), stderr: newState() };
  #failing = false;

  /** Opens the file. Throws what open(2) says. */
  constructor({ onFailure, ...file }: JsonLogOptions) {
    this.#file = new RotatingFile(file);
    this.#onFailure = onFailure;
    this.#encoder = new JsonLogEncoder((records) => this.#store(records));
  }

  /** Takes a piece of output as it was read. Its complete lines are in the file when this returns. */
  write(stream: LogStream, chunk: Uint8Array, atUnixNano: bigint): void {
    const state = this.#streams[stream];
    const now = recordTail(stream, atUnixNano);
    const rest = state.length > 0 ? this.#completePending(state, chunk, now) : chunk;
    keep(state, rest.subarray(this.#encoder.encodeLines(rest, now, state)));
    this.#encoder.flush();
  }

  /** The stream has ended: what it had begun of a line becomes a record without a newline, as with Docker. */
  end(stream: LogStream, atUnixNano: bigint): void {
    const state = this.#streams[stream];
    if (state.length > 0) {
      this.#encoder.encodePartial(state.pending!.subarray(0, state.length), recordTail(stream, atUnixNano), state);
    }
    this.#encoder.flush();
    this.#streams[stream] = newState();
  }

  [Symbol.dispose](): void {
    this.#file[Symbol.dispose]();
  }

  /** Finishes the pending line from the chunk, or adds all of the chunk to it; returns what is left of the chunk. */
  #completePending(state: StreamState, chunk: Uint8Array, now: RecordTail): Uint8Array {
    let rest = chunk;
    while (state.length > 0 && rest.length > 0) {
      const part = rest.subarray(0, longestLineBytes - state.length);
      const lineEnd = part.indexOf(newline);
      const taken = lineEnd === -1 ? part : part.subarray(0, lineEnd + 1);
      state.pending!.set(taken, state.length);
      state.length += taken.length;
      rest = rest.subarray(taken.length);
      if (lineEnd === -1 && state.length < longestLineBytes) break;
      const pending = state.pending!.subarray(0, state.length);
      const done = this.#encoder.encodeLines(pending, now, state);
      pending.copyWithin(0, done);
      state.length -= done;
    }
    return rest;
  }

  #store(records: Uint8Array): void {
    try {
      this.#file.write(records);
      this.#failing = false;
    } catch (error) {
      if (!this.#failing) this.#onFailure(error);
      this.#failing = true;
    }
  }
}

const newState = (): StreamState => ({ continued: undefined, pending: undefined, length: 0 });

/** Keeps the unfinished line, always shorter than one piece. */
function keep(state: StreamState, rest: Uint8Array): void {
  if (rest.length === 0) return;
  state.pending ??= Buffer.allocUnsafeSlow(longestLineBytes);
  state.pending.set(rest, 0);
  state.length = rest.length;
}
