import { invalidField } from '@flotilla/errors';
import type { Rlimit } from '@flotilla/oci';
import type { Ulimit } from '../container-config.ts';
import { checkEach } from './text.ts';

/** getrlimit(2). */
const names =
  'as core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack'.split(' ');
const largest = BigInt(Number.MAX_SAFE_INTEGER);

/** The runtime's form of process limits. INVALID_FIELD for unknown names, doubled ones and a soft limit above the hard one. */
export function parseUlimits(ulimits: readonly Ulimit[]): Rlimit[] {
  const seen = new Set<string>();
  const rlimits: Rlimit[] = [];
  checkEach(ulimits, 'ulimits', ({ name, soft, hard }, field) => {
    if (!names.includes(name)) throw invalidField(`${field}.name`, `one of ${names.join(', ')}`, name);
    if (seen.has(name)) throw invalidField(`${field}.name`, 'given once only', name);
    seen.add(name);
    for (const [which, value] of Object.entries({ soft, hard })) {
      if (value < -1n || value > largest) throw invalidField(`${field}.${which}`, '-1 or more', String(value));
    }
    if (hard !== -1n && (soft === -1n || soft > hard)) {
      throw invalidField(`${field}.soft`, `at most the hard limit ${hard}`, String(soft));
    }
    rlimits.push({ type: `RLIMIT_${name.toUpperCase()}`, soft: Number(soft), hard: Number(hard) });
  });
  return rlimits;
}
