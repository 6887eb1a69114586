import { closeFd, pidfdOpen, type ReadableWatch, watchReadable } from '@flotilla/linux';
import { spawnOwn } from './own-children.ts';
import { recordAndExecute, type SeenProcess, seeChild } from './process-record.ts';
import type { Release } from './release.ts';

/** How one process is started. */
export interface StartOptions {
  readonly release: Release;
  readonly command: string;
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  /** Descriptor of the file for stdout and stderr. */
  readonly logFd: number;
  /** Handed over as descriptors 3 and on, with their names: sd_listen_fds(3). */
  readonly passed: readonly { readonly name: string; readonly fd: number }[];
  /** Where its record is written: pid file, start file. */
  readonly record: readonly [string, string];
}

/** How a process ended. */
export type Ended = Readonly<Record<string, unknown>>;

/** One run of a program: from its start, or from when it was found, to its end. */
export class RunningProcess {
  readonly seen: SeenProcess;
  readonly release: Release;
  readonly since: bigint = BigInt(Date.now()) * 1_000_000n;
  /** Resolves with how it ended, once. */
  readonly exited: Promise<Ended>;
  /** Resolve when it says so; never if it does not. */
  readonly loaded: Promise<void>;
  readonly ready: Promise<void>;
  isReady = false;
  hasEnded = false;
  /** What it said last: STATUS=. */
  status = '';
  readonly #isLoaded = Promise.withResolvers<void>();
  readonly #isReadyPromise = Promise.withResolvers<void>();

  private constructor(seen: SeenProcess, release: Release, exited: Promise<Ended>) {
    this.seen = seen;
    this.release = release;
    this.loaded = this.#isLoaded.promise;
    this.ready = this.#isReadyPromise.promise;
    this.exited = exited.then((how) => {
      this.hasEnded = true;
      return how;
    });
  }

  get pid(): number {
    return this.seen.pid;
  }

  /** Throws when it cannot be started at all. */
  static start({ release, command, args, env, logFd, passed, record }: StartOptions): RunningProcess {
    const listen =
      passed.length === 0
        ? {}
        : { LISTEN_FDS: String(passed.length), LISTEN_FDNAMES: passed.map(({ name }) => name).join(':') };
    const child = spawnOwn('/bin/sh', ['-c', recordAndExecute, 'sh', ...record, command, ...args], {
      cwd: '/',
      env: { ...env, ...listen },
      stdio: ['ignore', logFd, logFd, ...passed.map(({ fd }) => fd)],
      detached: true,
    });
    const { promise, resolve, reject } = Promise.withResolvers<Ended>();
    child.once('error', (err) => (child.pid === undefined ? reject(err) : resolve({ err })));
    child.once('exit', (exitCode, exitSignal) => resolve({ exitCode, exitSignal }));
    if (child.pid === undefined) throw new Error('/bin/sh cannot be started');
    return new RunningProcess(seeChild(child.pid), release, promise);
  }

  /** A process that runs already, be it another's child. */
  static adopt(seen: SeenProcess, release: Release): RunningProcess {
    const adopted = new RunningProcess(seen, release, untilGone(seen));
    adopted.isReady = true; // It has been: what it said then, an earlier keeper heard.
    return adopted;
  }

  /** Takes in what it says of itself. */
  hear(fields: ReadonlyMap<string, string>): void {
    this.status = fields.get('STATUS') ?? this.status;
    if (fields.get('X_FLOTILLA_LOADED') === '1') this.#isLoaded.resolve();
    if (fields.get('READY') === '1') {
      this.isReady = true;
      this.#isLoaded.resolve();
      this.#isReadyPromise.resolve();
    }
    if (fields.get('STOPPING') === '1') this.isReady = false;
  }
}

/** The pidfd of a process is readable from its end on: pidfd_open(2). */
async function untilGone(seen: SeenProcess): Promise<Ended> {
  let fd: number;
  try {
    fd = pidfdOpen(seen.pid);
  } catch {
    return {};
  }
  let watch: ReadableWatch | undefined;
  try {
    if (seen.isAlive()) {
      const { promise, resolve } = Promise.withResolvers<void>();
      watch = watchReadable(fd, resolve);
      await promise;
    }
    return { childPid: seen.pid };
  } finally {
    watch?.[Symbol.dispose]();
    closeFd(fd);
  }
}
