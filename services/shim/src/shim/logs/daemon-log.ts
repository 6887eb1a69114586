import { cutLines, eachLine } from './cut-lines.ts';
import type { DaemonSocket } from './daemon-socket.ts';
import type { LogDriver, LogPiece, LogPlace, LogStream } from './log-driver.ts';

/** A line, or a piece of one, on its way to a daemon. */
export interface DaemonEntry {
  readonly stream: LogStream;
  readonly text: Uint8Array;
  readonly isWhole: boolean;
  readonly atUnixNano: bigint;
  /** Number in this run. */
  readonly ordinal: bigint;
}

/**
 * Sends entries to a log daemon, one message each. They are numbered, the same entry always alike: this process sends none
 * twice, and one that takes over sends again what was on its way, under the same numbers.
 */
export class DaemonLog implements LogDriver {
  readonly #socket: DaemonSocket;
  readonly #format: (entry: DaemonEntry) => Uint8Array;
  #next = 0n;
  /** Below this all were sent by this process. */
  #sent = 0n;

  constructor(socket: DaemonSocket, format: (entry: DaemonEntry) => Uint8Array) {
    this.#socket = socket;
    this.#format = format;
  }

  get place(): LogPlace {
    return { file: 0n, offset: this.#next };
  }

  /** Takes what it could send; throws when that is nothing. */
  write({ stream, ...piece }: LogPiece): number {
    let taken = 0;
    try {
      return cutLines({ stream, ...piece }, (lines, atUnixNano) =>
        eachLine(lines, (text, isWhole) => {
          this.#send({ stream, text, isWhole, atUnixNano, ordinal: this.#next });
          taken += text.length + (isWhole ? 1 : 0);
        }),
      );
    } catch (error) {
      if (taken === 0) throw error;
      return taken;
    }
  }

  writeAgain(piece: LogPiece, { offset }: LogPlace): number {
    this.#next = offset;
    return this.write(piece);
  }

  [Symbol.dispose](): void {
    this.#socket[Symbol.dispose]();
  }

  #send(entry: DaemonEntry): void {
    if (entry.ordinal >= this.#sent) {
      this.#socket.send(this.#format(entry));
      this.#sent = entry.ordinal + 1n;
    }
    this.#next = entry.ordinal + 1n;
  }
}
