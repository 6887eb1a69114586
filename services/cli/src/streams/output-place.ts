import { type AttachConnected, AttachResume, type AttachStarted } from '@flotilla/proto/flotilla/v1/container';
import type { OutputPiece } from './output.ts';

/** How far a client has come in the output of one run of a container, in bytes since the run's start. */
export class OutputPlace {
  #run = 0n;
  #attachmentId = '';
  #stdout: bigint | undefined;
  #stderr: bigint | undefined;

  /** `fromStart`: every byte of the run is wanted; otherwise where it begins is known once it is connected. */
  constructor({ fromStart }: { readonly fromStart: boolean }) {
    if (fromStart) this.#stdout = this.#stderr = 0n;
  }

  /** It is attached, under an id by which it may come back. */
  attach({ attachmentId }: AttachStarted): void {
    this.#attachmentId = attachmentId;
  }

  connect({ run, stdoutPosition, stderrPosition }: AttachConnected): void {
    this.#run = run;
    this.#stdout = stdoutPosition;
    this.#stderr = stderrPosition;
  }

  pass({ stream, data }: OutputPiece): void {
    const length = BigInt(data.length);
    if (stream === 'OUTPUT_STREAM_STDERR')
      this.#stderr = this.#stderr === undefined ? undefined : this.#stderr + length;
    else this.#stdout = this.#stdout === undefined ? undefined : this.#stdout + length;
  }

  /** It was connected to a run. */
  get isKnown(): boolean {
    return this.#run !== 0n;
  }

  /** What to attach with in order to go on; of `run` when it is not known yet. Undefined when nothing is owed. */
  resume(run = this.#run): AttachResume | undefined {
    if (this.#stdout === undefined || this.#stderr === undefined) return undefined;
    const attachmentId = this.#attachmentId;
    return AttachResume.create({ run, stdoutPosition: this.#stdout, stderrPosition: this.#stderr, attachmentId });
  }

  /** Gives of the run's output, piece by piece from its start on, what has not come yet. */
  unseen(): (piece: OutputPiece) => Buffer {
    const seen = new Map<string, number>([
      ['OUTPUT_STREAM_STDOUT', Number(this.#stdout ?? 0n)],
      ['OUTPUT_STREAM_STDERR', Number(this.#stderr ?? 0n)],
    ]);
    return ({ stream, data }) => {
      const left = seen.get(stream) ?? 0;
      seen.set(stream, Math.max(left - data.length, 0));
      return data.subarray(Math.min(left, data.length));
    };
  }
}
