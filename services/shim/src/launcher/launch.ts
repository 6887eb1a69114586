import { isAbsolute } from 'node:path';
import { invalidField } from '@flotilla/errors';
import { closeFd, readFd, setNonBlocking } from '@flotilla/linux';
import { LauncherReply, type LaunchRequest } from '@flotilla/proto/flotilla/launcher/v1/launcher';
import type { Connection } from './connection.ts';
import { findFrame } from './frame.ts';

const longestReplyBytes = 1 << 20;
const chunk = Buffer.allocUnsafeSlow(4 << 10);

/** What a shim is made for. */
export interface ShimTask {
  readonly containerId: string;
  /** Number of the run. */
  readonly run: bigint;
  /** The bundle. */
  readonly shimDir: string;
  readonly requestId: string;
}

/** Checks what the supervisor sent. INVALID_FIELD. */
export function parseTask({ containerId, run, shimDir, requestId }: LaunchRequest): ShimTask {
  if (!/^[0-9a-zA-Z][0-9a-zA-Z_.-]{0,127}$/.test(containerId)) {
    throw invalidField('container_id', '1 to 128 letters, digits, _ . or -', containerId);
  }
  if (!isAbsolute(shimDir) || shimDir.includes('\0')) throw invalidField('shim_dir', 'an absolute path', shimDir);
  return { containerId, run, shimDir, requestId };
}

/** A shim that has not answered yet, and those who wait for its answer. */
export class Launch {
  readonly task: ShimTask;
  readonly pid: number;
  readonly readyFd: number;
  /** performance.now() at which patience ends. */
  readonly deadline: number;
  readonly startedAt: number = performance.now();
  readonly waiting: Connection[] = [];
  #input: Buffer = Buffer.alloc(0);

  constructor(task: ShimTask, shim: { readonly pid: number; readonly readyFd: number }, timeoutMs: number) {
    this.task = task;
    this.pid = shim.pid;
    this.readyFd = shim.readyFd;
    this.deadline = this.startedAt + timeoutMs;
    setNonBlocking(this.readyFd, true);
  }

  /** Reads on: the answer once it is whole, `silent` when the shim closed its end without one. */
  read(): LauncherReply | 'silent' | undefined {
    const length = readFd(this.readyFd, chunk);
    if (length === undefined) return undefined;
    if (length === 0) return 'silent';
    this.#input = Buffer.concat([this.#input, chunk.subarray(0, length)]);
    const frame = findFrame(this.#input, longestReplyBytes);
    return frame === undefined ? undefined : LauncherReply.decode(frame);
  }

  /** Answers all who wait, and is done. */
  finish(reply: LauncherReply): void {
    closeFd(this.readyFd);
    for (const connection of this.waiting) connection.reply(reply);
  }
}
