import { chmodSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Paths } from '@flotilla/config';

/** Where scripts find an instance's processes and logs. */
export interface InstanceFiles {
  /** `pids/<name>.pid`: a decimal process id. */
  pidFile(name: string): string;
  /** `log/<name>.log`, JSON lines. */
  logFile(name: string): string;
  readonly natsUrl: string;
  readonly natsConfig: string;
  readonly natsData: string;
  readonly compileCache: string;
}

/** Names the files below FLOTILLA_ROOT and FLOTILLA_RUN that belong to no single service. */
export function instanceFiles({ root, run }: Paths): InstanceFiles {
  return {
    pidFile: (name) => join(run, 'pids', `${name}.pid`),
    logFile: (name) => join(root, 'log', `${name}.log`),
    natsUrl: join(run, 'nats.url'),
    natsConfig: join(run, 'nats.conf'),
    natsData: join(root, 'nats'),
    compileCache: join(root, 'compile-cache'),
  };
}

/** Makes a folder that only its owner may enter, and takes everybody else out of one that is there. */
export function makePrivateFolder(path: string): void {
  mkdirSync(path, { recursive: true, mode: 0o700 });
  if ((statSync(path).mode & 0o077) !== 0) chmodSync(path, 0o700);
}

/** Replaces a small file in one step: a reader sees the old content or the new. */
export function replaceFile(path: string, content: string): void {
  makePrivateFolder(dirname(path));
  writeFileSync(`${path}.new`, content, { mode: 0o600 });
  renameSync(`${path}.new`, path);
}

/** The process id in a pid file, or undefined when there is none or that process is gone. */
export function findLivePid(path: string): number | undefined {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
  const pid = Number(text.trim());
  return Number.isSafeInteger(pid) && pid > 1 && isAlive(pid) ? pid : undefined;
}

/** Whether a process exists and is not a zombie. */
export function isAlive(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3) !== 'Z';
  } catch {
    return false;
  }
}

/** Deletes a file that may be missing. */
export function removeFile(path: string): void {
  rmSync(path, { force: true });
}
