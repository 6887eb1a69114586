import { closeSync, constants, mkdirSync, openSync, readdirSync, readFileSync, rmdirSync, writeSync } from 'node:fs';
import { isErrno } from '@flotilla/linux';

/** A whole file; `undefined` when there is none. */
export function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENODEV', 'EOPNOTSUPP')) return undefined;
    throw error;
  }
}

/** One write(2), as these files want it. Never makes a file. */
export function writeFileOnce(path: string, value: string): void {
  const fd = openSync(path, constants.O_WRONLY);
  try {
    writeSync(fd, value);
  } finally {
    closeSync(fd);
  }
}

/** Whether it was made just now. */
export function makeGroup(path: string): boolean {
  try {
    mkdirSync(path, 0o755);
    return true;
  } catch (error) {
    if (isErrno(error, 'EEXIST')) return false;
    throw error;
  }
}

/** The number behind a key in a file of `key value` lines. */
export function readKey(text: string | undefined, key: string): number | undefined {
  const line = text?.split('\n').find((one) => one.startsWith(`${key} `));
  return line === undefined ? undefined : Number(line.slice(key.length + 1));
}

/** A file with one number; `max` and absence give `undefined`. */
export function readNumber(path: string): number | undefined {
  const text = readIfThere(path)?.trim();
  return text === undefined || text === '' || text === 'max' ? undefined : Number(text);
}

/** Processes of a group and of those below it. */
export function readProcesses(path: string): number[] {
  const own = (readIfThere(`${path}/cgroup.procs`) ?? '').split('\n').filter(Boolean).map(Number);
  return [...own, ...subgroups(path).flatMap((name) => readProcesses(`${path}/${name}`))];
}

function subgroups(path: string): string[] {
  try {
    return readdirSync(path, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => name);
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENODEV')) return [];
    throw error;
  }
}

/** Removes a group, and those that the container made below it. False while processes are still in it. */
export function removeGroup(path: string): boolean {
  try {
    rmdirSync(path);
    return true;
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENODEV')) return true;
    if (!isErrno(error, 'EBUSY', 'ENOTEMPTY')) throw error;
  }
  const below = subgroups(path);
  return below.length > 0 && below.every((name) => removeGroup(`${path}/${name}`)) && removeGroup(path);
}

const sleeper = new Int32Array(new SharedArrayBuffer(4));

/** Asks until it is true, at most for so long; blocks the thread. */
export function pollUntil(done: () => boolean, timeoutMs: number): boolean {
  const end = performance.now() + timeoutMs;
  for (let pauseMs = 1; ; pauseMs = Math.min(pauseMs * 2, 20)) {
    if (done()) return true;
    if (performance.now() >= end) return false;
    Atomics.wait(sleeper, 0, 0, pauseMs);
  }
}
