import { closeSync, constants, readdirSync } from 'node:fs';
import { openat } from './at-calls.ts';
import { unlinkat } from './file-attributes.ts';
import { isErrno } from './syscall-error.ts';

const { O_RDONLY, O_NOFOLLOW, O_DIRECTORY } = constants;

/** Removes a name in an open directory, with all that is below it. Follows no link. */
export function removeAt(parent: number, name: string): void {
  try {
    unlinkat(parent, name);
    return;
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return;
    if (!isErrno(error, 'EISDIR', 'EPERM')) throw error;
  }
  const fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  try {
    for (const child of readdirSync(`/proc/self/fd/${fd}`)) removeAt(fd, child);
  } finally {
    closeSync(fd);
  }
  unlinkat(parent, name, { directory: true });
}
