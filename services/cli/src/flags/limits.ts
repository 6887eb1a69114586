import { invalidField } from '@flotilla/errors';
import type { Ulimit } from '@flotilla/proto/flotilla/v1/container';

// setrlimit(2), without RLIMIT_ and in small letters.
const names =
  'as core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack'.split(' ');

/** Reads `--ulimit`: `nofile=1024`, `nofile=1024:4096`; -1 or `unlimited` means no limit. */
export function parseUlimit(text: string): Ulimit {
  const match = /^([a-z]+)=(-1|unlimited|\d{1,19})(?::(-1|unlimited|\d{1,19}))?$/.exec(text);
  const [, name, softText, hardText] = match ?? [];
  if (name === undefined || softText === undefined || !names.includes(name)) {
    throw invalidField('--ulimit', `name=soft[:hard] with one of ${names.join(', ')}`, text);
  }
  const soft = limit(softText);
  const hard = hardText === undefined ? soft : limit(hardText);
  const exceeds = hard !== -1n && (soft === -1n || soft > hard);
  if (exceeds) throw invalidField('--ulimit', 'given a soft limit that is not above the hard one', text);
  return { name, soft, hard };
}

function limit(text: string): bigint {
  return text === '-1' || text === 'unlimited' ? -1n : BigInt(text);
}
