import { closeSync, readFileSync, writeSync } from 'node:fs';
import process from 'node:process';
import { createMemoryFile, setCloseOnExec } from '@flotilla/linux';
import type { StoredFd } from './fd-store.ts';
import { keeperStateForm } from './release.ts';

const stateVariable = 'FLOTILLA_KEEPER_STATE';

/** What one image of the keeper leaves to the next, all descriptors open: execve(2). */
export interface KeeperState {
  readonly form: number;
  readonly lockFd: number;
  readonly notifyFd: number;
  readonly processes: readonly {
    readonly name: string;
    readonly socketFd?: number | undefined;
    readonly releaseDir: string;
    readonly stored: readonly StoredFd[];
  }[];
}

/** Makes the state's descriptors outlive execve(2); the variables that tell the next image where it is. */
export function passState(state: KeeperState): string {
  const fd = createMemoryFile('keeper-state');
  writeSync(fd, JSON.stringify(state), 0);
  for (const one of [fd, ...descriptorsOf(state)]) setCloseOnExec(one, false);
  return `${stateVariable}=${fd}`;
}

/** Takes back what passState did, when execve(2) failed. */
export function keepState(state: KeeperState): void {
  for (const fd of descriptorsOf(state)) setCloseOnExec(fd, true);
}

/** The state that this image was left, or undefined for a keeper that was started anew. */
export function takeState(env: NodeJS.ProcessEnv = process.env): KeeperState | undefined {
  const text = env[stateVariable];
  delete env[stateVariable];
  if (text === undefined) return undefined;
  // By its path, which starts at the beginning wherever the file's offset is.
  const state = JSON.parse(readFileSync(`/proc/self/fd/${text}`, 'utf8')) as KeeperState;
  if (state.form !== keeperStateForm)
    throw new Error(`state of a keeper in form ${state.form}, not ${keeperStateForm}`);
  keepState(state);
  closeSync(Number(text));
  return state;
}

function descriptorsOf({ lockFd, notifyFd, processes }: KeeperState): readonly number[] {
  const ofProcesses = processes.flatMap(({ socketFd, stored }) => [
    ...(socketFd === undefined ? [] : [socketFd]),
    ...stored.map(({ fd }) => fd),
  ]);
  return [lockFd, notifyFd, ...ofProcesses];
}
