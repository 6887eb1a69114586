import { isAbsolute } from 'node:path';
import { invalidField } from '@flotilla/errors';

/** What a shim is made for. */
export interface ShimTask {
  readonly containerId: string;
  /** Number of the run. */
  readonly run: bigint;
  /** The bundle. */
  readonly shimDir: string;
  readonly requestId: string;
  /** The container is there: its shim is dead, or is to be replaced. */
  readonly adopt: boolean;
  /** Process id of the shim that lives and is to be replaced; 0: none. */
  readonly replaces: number;
}

/** Descriptors by name. */
export type NamedFds = Readonly<Record<string, number>>;

/** A task on its way to a new process, and what that process must know besides. */
export interface ShimOrder {
  readonly task: ShimTask;
  /** Names of the descriptors that come with it, in their order. */
  readonly fdNames: readonly string[];
  readonly launcherPid: number;
}

/** Checks what the supervisor sent. INVALID_FIELD. */
export function parseTask(request: Pick<ShimTask, 'containerId' | 'run' | 'shimDir' | 'requestId'>): ShimTask {
  const { containerId, run, shimDir, requestId } = request;
  checkContainerId(containerId);
  if (!isAbsolute(shimDir) || shimDir.includes('\0')) throw invalidField('shim_dir', 'an absolute path', shimDir);
  return { containerId, run, shimDir, requestId, adopt: false, replaces: 0 };
}

/** INVALID_FIELD. */
export function checkContainerId(containerId: string): void {
  if (!isContainerId(containerId)) {
    throw invalidField('container_id', '1 to 128 letters, digits, _ . or -', containerId);
  }
}

/** Whether a text can be a container's id. */
export function isContainerId(text: string): boolean {
  return /^[0-9a-zA-Z][0-9a-zA-Z_.-]{0,127}$/.test(text);
}

/** As JSON, in which a run is text: proto3 JSON has 64-bit numbers so. */
export function encodeOrder({ task, ...rest }: ShimOrder): string {
  return JSON.stringify({ ...rest, task: { ...task, run: String(task.run) } });
}

/** What {@link encodeOrder} wrote. */
export function decodeOrder(text: string): ShimOrder {
  type Encoded = Omit<ShimOrder, 'task'> & { readonly task: Omit<ShimTask, 'run'> & { readonly run: string } };
  const { task, ...rest } = JSON.parse(text) as Encoded;
  return { ...rest, task: { ...task, run: BigInt(task.run) } };
}
