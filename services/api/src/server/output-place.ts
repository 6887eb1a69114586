import type { AttachStart, AttachStarted } from '@flotilla/proto/flotilla/shim/v1/shim';
import type { OutputChunk } from '@flotilla/proto/flotilla/v1/stream';

/** How far an attachment to a container has come in its output, so that another one can go on behind it. */
export class OutputPlace {
  readonly #start: AttachStart;
  #stdout: bigint | undefined;
  #stderr: bigint | undefined;

  constructor(start: AttachStart) {
    this.#start = start;
    this.#stdout = start.stdoutPosition;
    this.#stderr = start.stderrPosition;
  }

  /** Where the shim begins. One of an earlier release counts nothing, and says no run; an exec's output has no places. */
  begin({ run, stdoutPosition, stderrPosition }: AttachStarted): void {
    if (this.#start.execId !== '' || run === 0n) return;
    this.#stdout ??= stdoutPosition;
    this.#stderr ??= stderrPosition;
  }

  pass({ stream, data, position }: OutputChunk): void {
    const behind = position + BigInt(data.length);
    if (stream === 'OUTPUT_STREAM_STDERR') this.#stderr = this.#stderr === undefined ? undefined : behind;
    else this.#stdout = this.#stdout === undefined ? undefined : behind;
  }

  /** What to ask of the next shim. */
  get next(): AttachStart {
    const { stdoutPosition: _, stderrPosition: __, ...rest } = this.#start;
    return {
      ...rest,
      ...(this.#stdout === undefined ? {} : { stdoutPosition: this.#stdout }),
      ...(this.#stderr === undefined ? {} : { stderrPosition: this.#stderr }),
    };
  }
}
