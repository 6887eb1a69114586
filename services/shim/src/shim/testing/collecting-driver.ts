import type { LogDriver, LogPiece, LogPlace, LogStream } from '../logs/log-driver.ts';

const newline = 0x0a;

/** A driver that keeps what it is given in memory: lines, and with the end of a stream what is left of one. */
export class CollectingDriver implements LogDriver {
  readonly logged: Record<LogStream, string> = { stdout: '', stderr: '' };
  readonly ended: LogStream[] = [];
  /** Thrown while it is set. */
  failure: Error | undefined;
  #all = '';

  get place(): LogPlace {
    return { file: 1n, offset: BigInt(this.#all.length) };
  }

  write({ stream, data, ended }: LogPiece): number {
    if (this.failure !== undefined) throw this.failure;
    const length = ended ? data.length : data.lastIndexOf(newline) + 1;
    const text = Buffer.from(data.subarray(0, length)).toString('latin1');
    this.logged[stream] += text;
    this.#all += text;
    if (ended) this.ended.push(stream);
    return length;
  }

  writeAgain(piece: LogPiece, { offset }: LogPlace): number {
    if (this.#all.length > Number(offset)) throw new Error('it was written');
    return this.write(piece);
  }

  [Symbol.dispose](): void {}
}
