import { closeSync, fstatSync, openSync, readSync } from 'node:fs';

const mostBytes = 64 * 1024;

/** The last lines of a log file; none when it cannot be read. */
export function logTail(path: string, lines: number): readonly string[] {
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch {
    return [];
  }
  try {
    const { size } = fstatSync(fd);
    const buffer = Buffer.alloc(Math.min(size, mostBytes));
    readSync(fd, buffer, 0, buffer.length, size - buffer.length);
    return buffer.toString().trimEnd().split('\n').slice(-lines);
  } finally {
    closeSync(fd);
  }
}
