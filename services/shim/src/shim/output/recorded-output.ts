import { FlotillaError, invalidField } from '@flotilla/errors';
import { nowUnixNano } from '@flotilla/linux';
import type { LogDriver, LogStream } from '../logs/log-driver.ts';
import { Journal, keptBytes, removeJournal } from './journal.ts';
import { JournaledPump, type Staging } from './journaled-pump.ts';
import type { Ledger } from './ledger.ts';
import { OutputLog } from './output-log.ts';

const chunkBytes = 64 * 1024;
const streams: readonly LogStream[] = ['stdout', 'stderr'];

export interface RecordedOutputOptions {
  /** The shim's folder. */
  readonly dir: string;
  readonly ledger: Ledger;
  /** Absent: nothing is logged. */
  readonly driver: LogDriver | undefined;
  /** With a terminal. */
  readonly staging: Staging | undefined;
  readonly onFailure: (error: unknown) => void;
  /** So much of a stream may wait for the driver before it is dropped; 0: the process waits. */
  readonly nonBlockingBufferBytes?: number;
}

/** Where to tell what comes of a stream. */
export interface OutputListener {
  readonly onData: (position: number, length: number) => void;
  readonly onEnd: () => void;
}

/** Output of a container's init: journal and log, which outlive this process, and what can be replayed of it. */
export class RecordedOutput implements Disposable {
  readonly #options: RecordedOutputOptions;
  readonly #journals: Readonly<Record<LogStream, Journal>>;
  readonly #log: OutputLog | undefined;
  /** Set by whoever reads. */
  onHold: (hold: boolean) => void = () => {};

  /** Goes on with what another shim has left. */
  constructor(options: RecordedOutputOptions) {
    const { dir, ledger, driver, onFailure, nonBlockingBufferBytes = 0 } = options;
    this.#options = options;
    const fileBytes = Math.max(keptBytes, nonBlockingBufferBytes);
    this.#journals = {
      stdout: new Journal(dir, 'stdout', fileBytes),
      stderr: new Journal(dir, 'stderr', fileBytes),
    };
    if (driver === undefined) return;
    const onHold = (hold: boolean) => this.onHold(hold);
    this.#log = new OutputLog({
      journals: this.#journals,
      ledger,
      driver,
      now: nowUnixNano,
      onFailure,
      onHold,
      nonBlockingBufferBytes,
    });
  }

  /** Reading end of the staging pipe. */
  get stagingFd(): number | undefined {
    return this.#options.staging?.readFd;
  }

  /** Logs what another shim had read and not logged. */
  recover(): void {
    this.#log?.recover();
  }

  /** Begins to read a stream. */
  pump(stream: LogStream, fd: number, { onData, onEnd }: OutputListener): JournaledPump {
    return new JournaledPump({
      fd,
      staging: this.#options.staging,
      journal: this.#journals[stream],
      onData: (position, length) => {
        this.#log?.take(stream);
        onData(position, length);
      },
      onEnd: () => {
        this.#log?.take(stream, true);
        onEnd();
      },
    });
  }

  /** What came of a stream from one place to another, in pieces of at most 64 KiB. */
  *pieces(
    stream: LogStream,
    begin: number,
    end: number,
  ): Generator<{ readonly position: number; readonly data: Buffer }> {
    for (let position = begin; position < end; position += chunkBytes) {
      const data = Buffer.allocUnsafe(Math.min(chunkBytes, end - position));
      yield { position, data: data.subarray(0, this.#journals[stream].read(position, data)) };
    }
  }

  /** So many bytes of a stream have come. */
  position(stream: LogStream): number {
    return this.#journals[stream].end;
  }

  /**
   * What came of a stream from a place on, up to now. OUT_OF_RANGE / OUTPUT_EXPIRED when that is not kept any more,
   * INVALID_FIELD when it has not come yet.
   */
  since(stream: LogStream, position: number): ReturnType<RecordedOutput['pieces']> {
    const { begin, end } = this.#journals[stream];
    if (position > end) throw invalidField(`${stream}_position`, `at most ${end}`, String(position));
    if (position < begin) {
      const message = `output of ${stream} before byte ${begin} is no longer kept; the log has it`;
      throw new FlotillaError('out_of_range', message, {
        reason: 'OUTPUT_EXPIRED',
        metadata: { stream, begin: String(begin) },
      });
    }
    return this.pieces(stream, position, end);
  }

  /** Resolves once all is logged, false after `waitMs`. */
  async settle(waitMs: number): Promise<boolean> {
    return (await this.#log?.settle(waitMs)) ?? true;
  }

  [Symbol.dispose](): void {
    this.#log?.close();
    for (const stream of streams) this.#journals[stream][Symbol.dispose]();
    this.#options.driver?.[Symbol.dispose]();
  }
}

/** Removes what a shim's folder has of it. */
export function removeRecordedOutput(dir: string): void {
  for (const stream of streams) removeJournal(dir, stream);
}
