import { setTimeout as sleep } from 'node:timers/promises';
import { isErrno } from '@flotilla/linux';
import { type LogDriver, type LogPiece, type LogStream, longestLineBytes } from '../logs/log-driver.ts';
import { type Journal, longestPieceBytes } from './journal.ts';
import type { Ledger, LogIntent, StreamPlace } from './ledger.ts';

const newline = 0x0a;
const firstRetryMs = 5;
const longestRetryMs = 250;
/** A daemon that is busy is no failure before. */
const busyMs = 1_000;
const nonBlockingSettleMs = 1_000;
// One for the process: each piece is done with before the next is read. Behind the beginning of a line, what was read at once.
const nothing = Buffer.alloc(0);
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
  /**
   * Above 0: while the driver takes nothing, so much of a stream waits in its journal, which must keep it, and the oldest is
   * dropped; nothing is held.
   */
  readonly nonBlockingBufferBytes: number;
}

/**
 * Brings output from the journals into the log: every byte once, whenever the process is killed. What a non-blocking driver
 * does not take in time is left out, and a line of the log says how much.
 */
export class OutputLog {
  readonly #options: OutputLogOptions;
  readonly #places: Record<LogStream, StreamPlace>;
  readonly #ended = new Set<LogStream>();
  /** Of each stream, not told yet. */
  readonly #droppedBytes: Record<LogStream, number> = { stdout: 0, stderr: 0 };
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
    if (this.#isBlocked) this.#dropOldest(stream);
    else this.#attempt(() => this.#logRest(stream));
  }

  /** Resolves once all is logged, false after `waitMs`. */
  async settle(waitMs: number): Promise<boolean> {
    const { nonBlockingBufferBytes } = this.#options;
    const patienceMs = nonBlockingBufferBytes > 0 ? Math.min(waitMs, nonBlockingSettleMs) : waitMs;
    const deadline = performance.now() + patienceMs;
    while (this.#isBlocked && performance.now() < deadline) await sleep(firstRetryMs);
    return !this.#isBlocked;
  }

  /** Tries no more. */
  close(): void {
    this.#isClosed = true;
  }

  #attempt(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#isBlocked = true;
      if (this.#options.nonBlockingBufferBytes === 0) this.#options.onHold(true);
      void this.#retry(error);
    }
  }

  async #retry(failure: unknown): Promise<void> {
    const tellAt = performance.now() + (isErrno(failure, 'EAGAIN') ? busyMs : 0);
    let isTold = false;
    for (let pauseMs = firstRetryMs; !this.#isClosed; pauseMs = Math.min(2 * pauseMs, longestRetryMs)) {
      if (!isTold && performance.now() >= tellAt) {
        this.#options.onFailure(failure);
        isTold = true;
      }
      await sleep(pauseMs);
      if (this.#isClosed) return;
      const { offset } = this.#options.driver.place;
      try {
        this.#writeAgain();
        for (const stream of ['stdout', 'stderr'] as const) this.#logRest(stream);
      } catch {
        if (this.#options.driver.place.offset !== offset) pauseMs = firstRetryMs;
        continue;
      }
      this.#isBlocked = false;
      if (this.#options.nonBlockingBufferBytes === 0) this.#options.onHold(false);
      return;
    }
  }

  /** Gives up what has waited longest, down to half of what may wait, up to the end of a line where there is one. */
  #dropOldest(stream: LogStream): void {
    const { journals, nonBlockingBufferBytes: mostBytes } = this.#options;
    const journal = journals[stream];
    if (mostBytes === 0 || journal.end - this.#places[stream].logged <= mostBytes) return;
    const target = journal.end - Math.floor(mostBytes / 2);
    const seen = buffer.subarray(0, journal.read(target, buffer.subarray(0, longestLineBytes)));
    this.#skipTo(stream, target + seen.indexOf(newline) + 1);
    // The piece that was begun is part of what is dropped: it must not be logged again.
    const { ledger, driver, now } = this.#options;
    if (ledger.intent?.stream !== stream) return;
    const droppedBytes = this.#droppedBytes[stream];
    const end = this.#places[stream].logged;
    const intent = { stream, ended: false, end, atUnixNano: now(), place: driver.place, droppedBytes };
    try {
      ledger.recordIntent(this.#places, intent);
    } catch {} // No room: whoever takes over finds the same in the journal.
  }

  #skipTo(stream: LogStream, to: number): void {
    this.#droppedBytes[stream] += to - this.#places[stream].logged;
    this.#places[stream] = { logged: to, continuedAtUnixNano: 0n };
  }

  #logRest(stream: LogStream): void {
    const { journals, ledger, driver, now } = this.#options;
    const journal = journals[stream];
    for (;;) {
      if (this.#places[stream].logged < journal.begin) this.#skipTo(stream, journal.begin);
      const { logged } = this.#places[stream];
      if (logged >= journal.end) return;
      const data = buffer.subarray(0, journal.read(logged, buffer));
      const end = logged + data.length;
      const ended = this.#ended.has(stream) && end === journal.end;
      if (!ended && data.length < longestLineBytes && !data.includes(newline)) return;
      const droppedBytes = this.#droppedBytes[stream];
      const intent = { stream, ended, end, atUnixNano: now(), place: driver.place, droppedBytes };
      ledger.recordIntent(this.#places, intent);
      const taken = this.#log(intent, data, (piece) => driver.write(piece));
      if (taken === 0 && droppedBytes === 0) return;
      // What is left is the beginning of a line; a driver that took less than that has more to take, or throws.
      if (end === journal.end && taken >= (ended ? data.length : data.lastIndexOf(newline) + 1)) return;
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
    if (logged < journals[stream].begin) return; // dropped since
    const data = buffer.subarray(0, journals[stream].read(logged, buffer.subarray(0, end - logged)));
    this.#log(intent, data, (piece) => driver.writeAgain(piece, place));
  }

  #log(
    { stream, ended, atUnixNano, droppedBytes }: LogIntent,
    data: Uint8Array,
    write: (piece: LogPiece) => number,
  ): number {
    const { logged, continuedAtUnixNano } = this.#places[stream];
    const line = { continuedAtUnixNano };
    const note = droppedBytes === 0 ? nothing : noteOf(droppedBytes);
    const piece = droppedBytes === 0 ? data : Buffer.concat([note, data]);
    const taken = write({ stream, data: piece, atUnixNano, line, ended }) - note.length;
    this.#places[stream] = { logged: logged + taken, continuedAtUnixNano: line.continuedAtUnixNano };
    this.#droppedBytes[stream] = 0;
    return taken;
  }
}

/** Stands in the log where output is missing. */
function noteOf(droppedBytes: number): Buffer {
  return Buffer.from(`[flotilla: ${droppedBytes} bytes of output were dropped here: the log driver did not keep up]\n`);
}
