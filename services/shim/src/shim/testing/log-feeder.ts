import type { LinePosition, LogDriver, LogStream } from '../logs/log-driver.ts';

interface Pending {
  data: Buffer;
  readonly line: LinePosition;
}

/** Gives a driver output in chunks, as the shim does: what it does not take comes again with the next chunk. */
export class LogFeeder implements Disposable {
  readonly driver: LogDriver;
  readonly #pending: Record<LogStream, Pending> = { stdout: nothing(), stderr: nothing() };

  constructor(driver: LogDriver) {
    this.driver = driver;
  }

  write(stream: LogStream, chunk: Uint8Array, atUnixNano: bigint, ended = false): void {
    const pending = this.#pending[stream];
    const data = Buffer.concat([pending.data, chunk]);
    const taken = this.driver.write({ stream, data, atUnixNano, line: pending.line, ended });
    pending.data = data.subarray(taken);
  }

  end(stream: LogStream, atUnixNano: bigint): void {
    this.write(stream, Buffer.alloc(0), atUnixNano, true);
  }

  [Symbol.dispose](): void {
    this.driver[Symbol.dispose]();
  }
}

function nothing(): Pending {
  return { data: Buffer.alloc(0), line: { continuedAtUnixNano: 0n } };
}
