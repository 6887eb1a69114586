import { FlotillaError, invalidField } from '@flotilla/errors';
import { closeFd, setTerminalSize } from '@flotilla/linux';
import type { WindowSize } from '@flotilla/proto/flotilla/v1/stream';
import { FanOut } from './fan-out.ts';
import { Input } from './input.ts';
import type { OutputClient, StreamName } from './output-client.ts';
import { Pump } from './pump.ts';
import type { StreamEnds } from './stdio.ts';
import { typeInto } from './terminal-input.ts';

/** How far a client may be behind. */
const clientLimitBytes = 1024 * 1024;
/** What a terminal's programs wrote reaches the master by way of a kernel thread: it is not all there at their exit. */
const terminalWaitMs = 200;
const longestSide = 0xffff;

/** Besides the attached clients, who takes a process's output. */
export interface OutputSink {
  write(stream: StreamName, chunk: Uint8Array): void;
  end(stream: StreamName): void;
}

export interface ProcessStreamsOptions {
  readonly ends: StreamEnds;
  /** Absent: output is held for slow clients as long as they like, there is nobody else. */
  readonly sink?: OutputSink | undefined;
  /** How long a slow client may hold output back. */
  readonly patienceMs?: number | undefined;
}

/** Our side of a process's standard streams or terminal. */
export class ProcessStreams {
  readonly #ends: StreamEnds;
  readonly #sink: OutputSink | undefined;
  readonly #fanOut: FanOut;
  readonly #drained = Promise.withResolvers<void>();
  #pumps: readonly Pump[] | undefined;
  #open = 0;
  #held = false;
  #input: Input | undefined;
  #inputClosed = false;
  /** What is typed at a terminal goes in one piece after the other. */
  #typing: Promise<void> = Promise.resolve();

  constructor({ ends, sink, patienceMs }: ProcessStreamsOptions) {
    this.#ends = ends;
    this.#sink = sink;
    this.#fanOut = new FanOut({ limitBytes: clientLimitBytes, patienceMs, onHold: (hold) => this.#hold(hold) });
  }

  get hasTerminal(): boolean {
    return this.#ends.terminalFd !== undefined;
  }

  /** Somebody reads its output, or has. */
  get isOpen(): boolean {
    return this.#pumps !== undefined;
  }

  get clientCount(): number {
    return this.#fanOut.clientCount;
  }

  /** Begins to read the output. */
  open(): void {
    if (this.#pumps !== undefined) return;
    const { terminalFd, stdoutFd, stderrFd } = this.#ends;
    const sources: [StreamName, number | undefined, boolean][] = [
      ['stdout', terminalFd, true],
      ['stdout', stdoutFd, false],
      ['stderr', stderrFd, false],
    ];
    const present = sources.flatMap(([stream, fd, terminal]) => (fd === undefined ? [] : [{ stream, fd, terminal }]));
    this.#open = present.length;
    if (this.#open === 0) this.#drained.resolve();
    this.#pumps = present.map(
      ({ stream, fd, terminal }) =>
        new Pump({
          fd,
          terminal,
          onChunk: (chunk) => {
            this.#sink?.write(stream, chunk);
            this.#fanOut.push(stream, chunk);
          },
          onEnd: () => this.#endOne(stream),
        }),
    );
    if (this.#held) this.#hold(true);
  }

  attach(streams: ReadonlySet<StreamName>): OutputClient {
    const client = this.#fanOut.attach(streams);
    this.open();
    return client;
  }

  detach(client: OutputClient): void {
    this.#fanOut.detach(client);
  }

  /** Resolves once the process has room for it. Input that nobody can read is thrown away. */
  async write(data: Uint8Array): Promise<void> {
    if (this.#ends.terminalFd !== undefined) {
      this.open();
      const [terminal] = this.#pumps!;
      this.#typing = this.#typing.then(() => typeInto(this.#ends.terminalFd!, data, () => terminal!.ended));
      await this.#typing;
    } else if (this.#ends.stdinFd !== undefined && !this.#inputClosed) {
      this.#input ??= new Input(this.#ends.stdinFd);
      await this.#input.write(data);
    }
  }

  /** End of input. A terminal has none: its programs read until it is gone. */
  closeInput(): void {
    if (this.#ends.stdinFd === undefined || this.#inputClosed) return;
    this.#inputClosed = true;
    if (this.#input === undefined) closeFd(this.#ends.stdinFd);
    else this.#input.close();
  }

  /** FAILED_PRECONDITION / NO_TERMINAL. */
  resize({ rows, columns }: WindowSize): void {
    if (this.#ends.terminalFd === undefined) {
      throw new FlotillaError('failed_precondition', 'the process has no terminal', { reason: 'NO_TERMINAL' });
    }
    if (rows > longestSide) throw invalidField('size.rows', `at most ${longestSide}`, String(rows));
    if (columns > longestSide) throw invalidField('size.columns', `at most ${longestSide}`, String(columns));
    const gone = this.#pumps?.every((pump) => pump.ended) ?? false;
    if (rows > 0 && columns > 0 && !gone) setTerminalSize(this.#ends.terminalFd, { rows, columns });
  }

  /**
   * The process is gone. Resolves once its output was read: until all writing ends are closed, or for `waitMs` and then
   * what is there.
   */
  async drain(waitMs: number): Promise<void> {
    this.open();
    this.#fanOut.release();
    const patienceMs = Math.max(waitMs, this.hasTerminal ? terminalWaitMs : 0);
    const timer = patienceMs > 0 ? setTimeout(() => this.#drainNow(), patienceMs) : this.#drainNow();
    await this.#drained.promise;
    clearTimeout(timer ?? undefined);
  }

  /** Tells the attached clients that this was all. */
  finish(exitCode: number): void {
    this.#input?.destroy();
    this.closeInput();
    this.#fanOut.end(exitCode);
  }

  /** Throws away what nobody has asked for. */
  close(): void {
    this.open();
    this.#drainNow();
    this.#input?.destroy();
    this.closeInput();
  }

  #drainNow(): void {
    for (const pump of this.#pumps ?? []) pump.drainNow();
  }

  #endOne(stream: StreamName): void {
    this.#open--;
    this.#sink?.end(stream);
    if (this.#open === 0) this.#drained.resolve();
  }

  #hold(hold: boolean): void {
    this.#held = hold;
    for (const pump of this.#pumps ?? []) {
      if (hold) pump.pause();
      else pump.resume();
    }
  }
}
