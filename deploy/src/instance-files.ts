import { chmodSync, mkdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Paths } from '@flotilla/config';

/** Where scripts find an instance's processes and logs. */
export interface InstanceFiles {
  /** `pids/<name>.pid`: a decimal process id, for people and their scripts. */
  pidFile(name: string): string;
  /** `pids/<name>.start`: what tells that process from a later one with the same id. */
  startFile(name: string): string;
  /** `log/<name>.log`, JSON lines. */
  logFile(name: string): string;
  /** Locked by the keeper for as long as it lives. */
  readonly keeperLock: string;
  /** The keeper's gRPC. */
  readonly keeperSocket: string;
  /** NOTIFY_SOCKET of the processes that it keeps. */
  readonly notifySocket: string;
  readonly natsUrl: string;
  readonly natsConfig: string;
  readonly natsData: string;
  readonly compileCache: string;
}

/** Names the files below FLOTILLA_ROOT and FLOTILLA_RUN that belong to no single service. */
export function instanceFiles({ root, run }: Paths): InstanceFiles {
  return {
    pidFile: (name) => join(run, 'pids', `${name}.pid`),
    startFile: (name) => join(run, 'pids', `${name}.start`),
    logFile: (name) => join(root, 'log', `${name}.log`),
    keeperLock: join(run, 'keeper.lock'),
    keeperSocket: join(run, 'keeper.sock'),
    notifySocket: join(run, 'notify.sock'),
    natsUrl: join(run, 'nats.url'),
    natsConfig: join(run, 'nats.conf'),
    natsData: join(root, 'nats'),
    compileCache: join(root, 'compile-cache'),
  };
}

/** Makes the folders that an instance needs before its first process. */
export function makeInstanceFolders(paths: Paths): void {
  const files = instanceFiles(paths);
  for (const folder of [paths.root, paths.run]) makePrivateFolder(folder);
  for (const folder of ['pids', 'shims', 'netns']) makePrivateFolder(join(paths.run, folder));
  for (const folder of [files.compileCache, join(paths.root, 'log')]) makePrivateFolder(folder);
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

/** Deletes a file that may be missing. */
export function removeFile(path: string): void {
  rmSync(path, { force: true });
}
