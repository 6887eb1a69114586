import { existsSync, readFileSync, realpathSync } from 'node:fs';
import { FlotillaError } from '@flotilla/errors';

/** Where a path is mounted, and how mounts there travel. */
export interface SourceMount {
  readonly mountPoint: string;
  readonly isShared: boolean;
  readonly isSlave: boolean;
}

/**
 * FAILED_PRECONDITION / SOURCE_NOT_SHARED where Docker refuses: a shared mount needs a source that is shared, a slave one such
 * or a slave. A source that has gone is the shim's to complain of.
 */
export function checkPropagation(source: string, propagation: string, field: string): void {
  const mode = propagation.replace(/^r/, '');
  if (mode !== 'shared' && mode !== 'slave') return;
  if (!existsSync(source)) return;
  const path = realpathSync(source);
  const { mountPoint, isShared, isSlave } = findMount(readFileSync('/proc/self/mountinfo', 'utf8'), path);
  if (isShared || (mode === 'slave' && isSlave)) return;
  const wanted = mode === 'shared' ? 'shared' : 'shared or slave';
  throw new FlotillaError(
    'failed_precondition',
    `${field}: path ${path} is mounted on ${mountPoint} but it is not a ${wanted} mount`,
    { reason: 'SOURCE_NOT_SHARED', metadata: { field, path, mountPoint, propagation } },
  );
}

/** The mount that a path is in, from proc_pid_mountinfo(5); of several on one folder the last. */
export function findMount(mountinfo: string, path: string): SourceMount {
  let found: SourceMount | undefined;
  for (const line of mountinfo.split('\n')) {
    const [, , , , escaped, , ...rest] = line.split(' ');
    if (escaped === undefined) continue;
    const mountPoint = escaped.replace(/\\([0-7]{3})/g, (_, octal: string) =>
      String.fromCharCode(Number.parseInt(octal, 8)),
    );
    const isAbove = path === mountPoint || path.startsWith(mountPoint === '/' ? '/' : `${mountPoint}/`);
    if (!isAbove || mountPoint.length < (found?.mountPoint.length ?? 0)) continue;
    const tags = rest.slice(0, rest.indexOf('-'));
    const has = (tag: string) => tags.some((text) => text.startsWith(`${tag}:`));
    found = { mountPoint, isShared: has('shared'), isSlave: has('master') };
  }
  if (found === undefined) throw new Error(`no mount holds ${path}`);
  return found;
}
