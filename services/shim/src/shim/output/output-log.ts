import { setTimeout as sleep } from 'node:timers/promises';
import { type LogDriver, type LogPiece, type LogStream, longestLineBytes } from '../logs/log-driver.ts';
import { type Journal, longestPieceBytes } from './journal.ts';
import type { Ledger, LogIntent, StreamPlace } from './ledger.ts';

const newline = 0x0a;
const retryMs = 250;
// One for the process: each piece is done with before the next is read. Behind the beginning of a line, what was read at once.
const buffer = Buffer.allocUnsafeSlow(longestPieceBytes + longestLineBytes);

export interface OutputLogOptions {
  readonly journals: Readonly<Record<LogStream, Journal>>;
  readonly ledger: Ledger;
  readonly driver: LogDriver;
  readonly now: () => bigint;
  /** Told when the driver takes nothing, once until it does again. */
  readonly onFailure: (error: unknown) => void;
  /** Nothing more must be read until it is told otherwise: the driver takes nothing now. */
  readonly onHold: (hold: boolean) => void;
}

/** Brings output from the journals into the log: every byte once, whenever the process is killed. */
export class OutputLog {
  readonly #options: OutputLogOptions;
  readonly #places: Record<LogStream, StreamPlace>;
  readonly #ended = new Set<LogStream>();
  #isBlocked = false;
  #isClosed = false;

  constructor(options: OutputLogOptions) {
    const { ledger } = options;
    this.#options = options;
    this.#places = { stdout: ledger.placeOf('stdout'), stderr: ledger.placeOf('stderr') };
  }

  /** Finishes the piece that another shim had begun, then logs what it had read besides. */
  recover(): void {
    this.#attempt(() => {
      this.#writeAgain();
      for (const stream of ['stdout', 'stderr'] as const) this.#logRest(stream);
    });
  }

  /** There is more in the journal of a stream; with `ended` there will be no more. */
  take(stream: LogStream, ended = false): void {
    if (ended) this.#ended.add(stream);
    this.#attempt(() => this.#logRest(stream));
  }

  /** Resolves once all is logged, false after `waitMs`. */
  async settle(waitMs: number): Promise<boolean> {
    const deadline = performance.now() + waitMs;
    while (this.#isBlocked && performance.now() < deadline) await sleep(retryMs);
    return !this.#isBlocked;
  }

  /** Tries no more. */
  close(): void {
    this.#isClosed = true;
  }

  #attempt(work: () => void): void {
    if (this.#isBlocked) return;
    try {
      work();
    } catch (error) {
      this.#isBlocked = true;
      this.#options.onFailure(error);
      this.#options.onHold(true);
      void this.#retry();
    }
  }

  async #retry(): Promise<void> {
    while (!this.#isClosed) {
      await sleep(retryMs);
      try {
        this.#writeAgain();
        for (const stream of ['stdout', 'stderr'] as const) this.#logRest(stream);
      } catch {
        continue; // the failure has been told
      }
      this.#isBlocked = false;
      this.#options.onHold(false);
      return;
    }
  }

  #logRest(stream: LogStream): void {
    const { journals, ledger, driver, now } = this.#options;
    const journal = journals[stream];
    for (;;) {
      const { logged } = this.#places[stream];
      if (logged >= journal.end) return;
      const data = buffer.subarray(0, journal.read(logged, buffer));
      const end = logged + data.length;
      const ended = this.#ended.has(stream) && end === journal.end;
      if (!ended && data.length < longestLineBytes && !data.includes(newline)) return;
      const intent = { stream, ended, end, atUnixNano: now(), place: driver.place };
      ledger.recordIntent(this.#places, intent);
      const taken = this.#log(intent, data, (piece) => driver.write(piece));
      if (taken === 0 || end === journal.end) return; // what is left is the beginning of a line
    }
  }

  /** Once more what the ledger says last, which may not have been done, or in part. */
  #writeAgain(): void {
    const { journals, ledger, driver } = this.#options;
    const { intent } = ledger;
    if (intent === undefined) return;
    const { stream, end, place } = intent;
    const { logged } = this.#places[stream];
    // Done already, by this process, before it failed to write down the next one.
    if (logged !== ledger.placeOf(stream).logged) return;
    const data = buffer.subarray(0, journals[stream].read(logged, buffer.subarray(0, end - logged)));
    this.#log(intent, data, (piece) => driver.writeAgain(piece, place));
  }

  #log({ stream, ended, atUnixNano }: LogIntent, data: Uint8Array, write: (piece: LogPiece) => number): number {
    const { logged, continuedAtUnixNano } = this.#places[stream];
    const line = { continuedAtUnixNano };
    const taken = write({ stream, data, atUnixNano, line, ended });
    this.#places[stream] = { logged: logged + taken, continuedAtUnixNano: line.continuedAtUnixNano };
    return taken;
  }
}
