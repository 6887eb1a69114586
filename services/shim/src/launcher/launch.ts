import { closeFd, recvFds, setNonBlocking } from '@flotilla/linux';
import { LauncherReply } from '@flotilla/proto/flotilla/launcher/v1/launcher';
import type { Connection } from './connection.ts';
import { findFrame } from './frame.ts';
import { forReplace } from './replies.ts';
import type { ShimTask } from './shim-task.ts';
import type { WatchedProcess } from './watched-process.ts';

const longestReplyBytes = 1 << 20;
const chunk = Buffer.allocUnsafeSlow(4 << 10);

/** What was asked for: a launch, or a replacement. */
export type Asked = 'launch' | 'replace';

/** What a shim sent: its answer, and what it wants to have kept. */
export interface ShimAnswer {
  readonly reply: LauncherReply;
  readonly kept: ReadonlyMap<string, number>;
}

export interface LaunchOptions {
  readonly task: ShimTask;
  readonly shim: WatchedProcess;
  readonly readyFd: number;
  /** The shim that was there before; 0: none. */
  readonly replacedPid: number;
  readonly timeoutMs: number;
}

/** A shim that has not answered yet, and those who wait for its answer. */
export class Launch {
  readonly task: ShimTask;
  readonly shim: WatchedProcess;
  readonly readyFd: number;
  readonly replacedPid: number;
  /** performance.now() at which patience ends. */
  readonly deadline: number;
  readonly startedAt: number = performance.now();
  readonly #waiting = new Map<Connection, Asked>();
  readonly #fds: number[] = [];
  #input: Buffer = Buffer.alloc(0);

  constructor({ task, shim, readyFd, replacedPid, timeoutMs }: LaunchOptions) {
    this.task = task;
    this.shim = shim;
    this.readyFd = readyFd;
    this.replacedPid = replacedPid;
    this.deadline = this.startedAt + timeoutMs;
    setNonBlocking(this.readyFd, true);
  }

  wait(connection: Connection, asked: Asked): void {
    this.#waiting.set(connection, asked);
  }

  /** Whoever has left needs no answer. */
  forget(connection: Connection): void {
    this.#waiting.delete(connection);
  }

  /** Reads on: the answer once it is whole, `silent` when the shim closed its end without one. RangeError: it is none. */
  read(): ShimAnswer | 'silent' | undefined {
    const received = recvFds(this.readyFd, chunk);
    if (received === undefined) return undefined;
    this.#fds.push(...received.fds);
    if (received.length === 0) return 'silent';
    this.#input = Buffer.concat([this.#input, chunk.subarray(0, received.length)]);
    const frame = findFrame(this.#input, longestReplyBytes);
    return frame === undefined ? undefined : this.#parse(LauncherReply.decode(frame));
  }

  /** Answers all who wait, and is done. */
  finish(reply: LauncherReply): void {
    closeFd(this.readyFd);
    for (const fd of this.#fds.splice(0)) closeFd(fd);
    for (const [connection, asked] of this.#waiting) {
      connection.reply(asked === 'replace' ? forReplace(reply, this.task.containerId, this.replacedPid) : reply);
    }
  }

  /** The names are for the launcher alone, and the descriptors its own from now on. */
  #parse({ reply }: LauncherReply): ShimAnswer {
    if (reply?.$case !== 'launch') return { reply: LauncherReply.create({ reply }), kept: new Map() };
    const { keptDescriptors, ...rest } = reply.value;
    if (keptDescriptors.length !== this.#fds.length) throw new RangeError('a name for each descriptor was expected');
    const kept = new Map(this.#fds.splice(0).map((fd, i) => [keptDescriptors[i]!, fd]));
    return { reply: LauncherReply.fromPartial({ reply: { $case: 'launch', value: rest } }), kept };
  }
}
