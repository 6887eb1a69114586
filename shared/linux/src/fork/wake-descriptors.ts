import { readdirSync, readlinkSync } from 'node:fs';
import { isErrno } from '../syscall-error.ts';

/**
 * Descriptors by which libuv's loop is woken: eventfd(2). V8 wakes it for work that it puts off, as a collection does now
 * and then, from JavaScript that never returns to the loop, too. libuv aborts when it cannot write to them, and what has
 * been opened under the number of one that was closed gets eight bytes that are not meant for it. So a forked child that goes
 * on leaves them open; all are close-on-exec. What it writes wakes its parent for nothing.
 */
export function wakeDescriptors(): number[] {
  return readdirSync('/proc/self/fd')
    .filter((name) => linkOf(name) === 'anon_inode:[eventfd]')
    .map(Number);
}

function linkOf(name: string): string | undefined {
  try {
    return readlinkSync(`/proc/self/fd/${name}`);
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined; // that of the folder itself
    throw error;
  }
}
