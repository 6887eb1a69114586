import { readFileSync } from 'node:fs';
import { umount } from '@flotilla/linux';

/** Where something is mounted at or below a folder, innermost last; of several on one place each. The path has no links in it. */
export function mountPointsIn(folder: string): string[] {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => decode(line.split(' ', 5)[4] ?? ''))
    .filter((path) => path === folder || path.startsWith(`${folder}/`));
}

/** proc_pid_mountinfo(5): blanks and backslashes are written as three octal digits. */
function decode(text: string): string {
  if (!text.includes('\\')) return text;
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}

/** Takes away all that is mounted at or below a folder, innermost first; who still uses it keeps it. */
export function unmountAll(folder: string): void {
  for (const path of mountPointsIn(folder).reverse()) umount(path, { detach: true });
}
