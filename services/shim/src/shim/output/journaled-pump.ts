import { closeFd, isErrno, type ReadableWatch, splice, watchReadable } from '@flotilla/linux';
import { type Journal, longestPieceBytes } from './journal.ts';

const fullPauseMs = 250;
/** What can be in a pipe, or in a terminal and its staging pipe, when its process has gone. */
const mostLeftBytes = 1024 * 1024;

/** A pipe that a terminal's output passes through on its way to the journal: what is in it outlives this process. */
export interface Staging {
  readonly readFd: number;
  readonly writeFd: number;
}

export interface JournaledPumpOptions {
  /** Reading end of a pipe, or a terminal's master. Becomes the pump's own, and non-blocking; the staging pipe as well. */
  readonly fd: number;
  /** For a terminal: splice(2) takes only pipes to files. */
  readonly staging?: Staging | undefined;
  readonly journal: Journal;
  /** So many bytes are in the journal from that place of the stream on. */
  readonly onData: (position: number, length: number) => void;
  /** Once, when all writing ends are closed, or when {@link JournaledPump.drainNow} found it empty. */
  readonly onEnd: () => void;
}

/** Reads what a process writes into a journal, as it comes. */
export class JournaledPump {
  readonly #options: JournaledPumpOptions;
  readonly #watch: ReadableWatch;
  #isPaused = false;
  #ended = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: JournaledPumpOptions) {
    this.#options = options;
    this.#watch = watchReadable(options.fd, () => this.#look());
    // What another shim had taken from the terminal and not written down.
    if (options.staging !== undefined) this.#timer = setTimeout(() => this.#look(), 0);
  }

  get fd(): number {
    return this.#options.fd;
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** Stops reading: the process blocks once its pipe is full. */
  pause(): void {
    this.#isPaused = true;
    this.#watch.pause();
  }

  resume(): void {
    this.#isPaused = false;
    if (!this.#ended && this.#timer === undefined) this.#watch.resume();
  }

  /** Reads what is there now and ends, though others may still hold the writing end. */
  drainNow(): void {
    try {
      for (let left = mostLeftBytes; left > 0 && !this.#ended; ) {
        const length = this.#read();
        if (length === undefined || length === 0) break;
        left -= length;
      }
    } catch (error) {
      if (!isErrno(error, 'ENOSPC', 'EDQUOT')) throw error;
    } finally {
      this.#end();
    }
  }

  #look(): void {
    this.#timer = undefined;
    if (this.#isPaused || this.#ended) return;
    try {
      if (this.#read() === 0) this.#end();
      else this.#watch.resume();
    } catch (error) {
      // No room for the journal: the process waits in its pipe. What else can go wrong is said, and may pass as well.
      this.#watch.pause();
      this.#timer = setTimeout(() => this.#look(), fullPauseMs);
      if (!isErrno(error, 'ENOSPC', 'EDQUOT')) throw error;
    }
  }

  /** 0 at the end, `undefined` when there is nothing now. */
  #read(): number | undefined {
    const { fd, staging, journal, onData } = this.#options;
    const position = journal.end;
    const moved = staging === undefined ? journal.fill(fd) : readTerminal(fd, staging, journal);
    if (moved !== undefined && moved > 0) onData(position, moved);
    return moved;
  }

  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    clearTimeout(this.#timer);
    const { fd, staging, onEnd } = this.#options;
    this.#watch[Symbol.dispose]();
    for (const one of [fd, staging?.readFd, staging?.writeFd]) if (one !== undefined) closeFd(one);
    onEnd();
  }
}

function readTerminal(masterFd: number, { readFd, writeFd }: Staging, journal: Journal): number | undefined {
  const before = journal.fill(readFd);
  if (before !== undefined) return before;
  try {
    if (splice(masterFd, writeFd, longestPieceBytes) === undefined) return undefined;
  } catch (error) {
    if (isErrno(error, 'EIO')) return 0; // nobody has it open any more: pty(7)
    throw error;
  }
  return journal.fill(readFd);
}
