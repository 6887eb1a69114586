import { FlotillaError, invalidField } from '@flotilla/errors';
import { closeFd, setTerminalSize } from '@flotilla/linux';
import type { WindowSize } from '@flotilla/proto/flotilla/v1/stream';
import { keptBytes, longestPieceBytes } from '../output/journal.ts';
import type { JournaledPump } from '../output/journaled-pump.ts';
import type { RecordedOutput } from '../output/recorded-output.ts';
import { within } from '../task/within.ts';
import { FanOut } from './fan-out.ts';
import { Input } from './input.ts';
import type { OutputClient, StreamName } from './output-client.ts';
import { Pump } from './pump.ts';
import type { StreamEnds } from './stdio.ts';
import { typeInto } from './terminal-input.ts';

/** How far a client may be behind: as long as it is not, a shim that takes over can replay what it has not got. */
const clientLimitBytes = keptBytes - longestPieceBytes;
/** What a terminal's programs wrote reaches the master by way of a kernel thread: it is not all there at their exit. */
const terminalWaitMs = 200;
const longestSide = 0xffff;
/** How long the input waits for a client whose connection broke. */
const returnMs = 10_000;

export interface ProcessStreamsOptions {
  readonly ends: StreamEnds;
  /** Of a container's init. Absent: output is held for slow clients as long as they like, there is nobody else. */
  readonly output?: RecordedOutput | undefined;
  /** How long a slow client may hold output back. */
  readonly patienceMs?: number | undefined;
  /** The writing end of its input is closed here, while the process lives. */
  readonly onInputClosed?: () => void;
}

/** Places in the streams of a client that comes back. */
export type Positions = Readonly<Partial<Record<StreamName, number>>>;

/** Our side of a process's standard streams or terminal. */
export class ProcessStreams {
  readonly #ends: StreamEnds;
  readonly #output: RecordedOutput | undefined;
  readonly #fanOut: FanOut;
  readonly #onInputClosed: () => void;
  readonly #drained = Promise.withResolvers<void>();
  #pumps: readonly (Pump | JournaledPump)[] | undefined;
  #open = 0;
  /** Who does not want any more output now. */
  readonly #holders = new Set<'client' | 'log' | 'successor'>();
  #input: Input | undefined;
  /** Of the process's input; another one once it was stopped. */
  #stdinFd: number | undefined;
  #inputClosed = false;
  #inputStopped = false;
  #returning: NodeJS.Timeout | undefined;
  /** What is typed at a terminal goes in one piece after the other. */
  #typing: Promise<unknown> = Promise.resolve();

  constructor({ ends, output, patienceMs, onInputClosed = () => {} }: ProcessStreamsOptions) {
    this.#ends = ends;
    this.#stdinFd = ends.stdinFd;
    this.#output = output;
    this.#onInputClosed = onInputClosed;
    this.#fanOut = new FanOut({
      limitBytes: clientLimitBytes,
      patienceMs,
      onHold: (hold) => this.#hold('client', hold),
    });
    if (output !== undefined) output.onHold = (hold) => this.#hold('log', hold);
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
    this.#pumps = present.map(({ stream, fd, terminal }) => this.#pump(stream, fd, terminal));
    if (this.#holders.size > 0) for (const pump of this.#pumps) pump.pause();
  }

  #pump(stream: StreamName, fd: number, terminal: boolean): Pump | JournaledPump {
    const onEnd = () => this.#endOne();
    const output = this.#output;
    if (output === undefined) {
      const onChunk = (chunk: Uint8Array) => {
        if (this.#fanOut.isWanted(stream)) this.#fanOut.push(stream, Buffer.from(chunk), 0);
      };
      return new Pump({ fd, terminal, onEnd, onChunk });
    }
    const onData = (begin: number, length: number) => {
      if (!this.#fanOut.isWanted(stream)) return;
      for (const { data, position } of output.pieces(stream, begin, begin + length)) {
        this.#fanOut.push(stream, data, position);
      }
    };
    return output.pump(stream, fd, { onData, onEnd });
  }

  /** With positions, of a container's init: goes on behind them. OUT_OF_RANGE / OUTPUT_EXPIRED. */
  attach(streams: ReadonlySet<StreamName>, positions: Positions = {}): OutputClient {
    const missed = [...streams].flatMap((stream) => {
      const position = positions[stream];
      if (position === undefined || this.#output === undefined) return [];
      return [...this.#output.since(stream, position)].map((piece) => ({ stream, ...piece }));
    });
    const client = this.#fanOut.attach(streams, missed);
    this.open();
    return client;
  }

  /** So many bytes of a stream have come; 0 where nobody counts them. */
  position(stream: StreamName): number {
    return this.#output?.position(stream) ?? 0;
  }

  detach(client: OutputClient): void {
    this.#fanOut.detach(client);
  }

  /**
   * Resolves once the process has room for it, with how many bytes it took: fewer only when another shim takes over. Input that
   * nobody can read is thrown away.
   */
  async write(data: Uint8Array): Promise<number> {
    if (this.#inputStopped) return 0;
    const { terminalFd } = this.#ends;
    if (terminalFd !== undefined) {
      this.open();
      const [terminal] = this.#pumps!;
      const until = { isGone: () => terminal!.ended, isStopped: () => this.#inputStopped };
      const typed = this.#typing.then(() => typeInto(terminalFd, data, until));
      this.#typing = typed;
      return typed;
    }
    if (this.#stdinFd === undefined || this.#inputClosed) return data.length;
    this.#input ??= new Input(this.#stdinFd);
    return this.#input.write(data);
  }

  /** No input is taken any more, for another shim takes over. */
  get isInputStopped(): boolean {
    return this.#inputStopped;
  }

  /** Takes no more input: what waits to be written is not. */
  stopInput(): void {
    this.#inputStopped = true;
    if (this.#input === undefined || this.#inputClosed) return;
    this.#stdinFd = this.#input.stop();
    this.#input = undefined;
  }

  /** End of input. A terminal has none: its programs read until it is gone. */
  closeInput(): void {
    if (this.#stdinFd === undefined || this.#inputClosed) return;
    this.#closeInput();
    this.#onInputClosed();
  }

  /** End of input, unless a client comes in time: the connection of the last one broke. */
  closeInputLater(): void {
    this.keepInput();
    this.#returning = setTimeout(() => this.closeInput(), returnMs);
    this.#returning.unref();
  }

  /** A client is there that sends input. */
  keepInput(): void {
    clearTimeout(this.#returning);
  }

  #closeInput(): void {
    if (this.#stdinFd === undefined || this.#inputClosed) return;
    this.#inputClosed = true;
    if (this.#input === undefined) closeFd(this.#stdinFd);
    else this.#input.close();
  }

  /** Reads no more, and ends the attachments, once they have what was read, with an error: another shim takes over. */
  suspend(error: FlotillaError): void {
    this.#hold('successor', true);
    this.#fanOut.fail(error);
  }

  /** Nobody has taken over. */
  goOn(): void {
    this.#inputStopped = false;
    this.#hold('successor', false);
  }

  /** Resolves once the input that was taken is with the process, or after `waitMs`. */
  async inputWritten(waitMs: number): Promise<void> {
    const written = [this.#typing, this.#inputClosed ? undefined : this.#input?.write(Buffer.alloc(0))];
    await within(Promise.all(written), waitMs);
  }

  /** Descriptors that are open, by name. */
  descriptors(): Record<string, number> {
    const { terminalFd, stdoutFd, stderrFd } = this.#ends;
    const ended = new Set(this.#pumps?.filter((pump) => pump.ended).map((pump) => pump.fd));
    const open = {
      terminal: terminalFd,
      stdin: this.#inputClosed || this.#input?.isOpen === false ? undefined : this.#stdinFd,
      stdout: stdoutFd,
      stderr: stderrFd,
    };
    return Object.fromEntries(
      Object.entries(open).filter((one): one is [string, number] => one[1] !== undefined && !ended.has(one[1])),
    );
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
    this.#closeInput();
    this.#fanOut.end(exitCode);
  }

  /** Throws away what nobody has asked for. */
  close(): void {
    this.open();
    this.#drainNow();
    this.#input?.destroy();
    this.#closeInput();
  }

  #drainNow(): void {
    for (const pump of this.#pumps ?? []) pump.drainNow();
  }

  #endOne(): void {
    this.#open--;
    if (this.#open === 0) this.#drained.resolve();
  }

  #hold(holder: 'client' | 'log' | 'successor', hold: boolean): void {
    const before = this.#holders.size > 0;
    if (hold) this.#holders.add(holder);
    else this.#holders.delete(holder);
    const now = this.#holders.size > 0;
    if (now === before) return;
    for (const pump of this.#pumps ?? []) {
      if (now) pump.pause();
      else pump.resume();
    }
  }
}
