import { invalidField } from '@flotilla/errors';

const namePattern = /^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/;
const longestName = 255;

/** INVALID_FIELD unless it may be a container's name. */
export function checkContainerName(name: string): void {
  if (!namePattern.test(name)) throw invalidField('name', 'letters, digits, `_`, `.` and `-`, at least two', name);
  if (name.length > longestName) throw invalidField('name', `at most ${longestName} characters long`, name);
  if (/^[0-9a-f]{64}$/.test(name)) throw invalidField('name', 'something else than 64 hexadecimal digits', name);
}

/** sethostname(2) takes 64 bytes; RFC 1123 says which characters. */
const hostnamePattern = /^(?!-)[a-zA-Z0-9_-]{1,63}(?<!-)(?:\.(?!-)[a-zA-Z0-9_-]{1,63}(?<!-))*\.?$/;
const longestHostname = 64;

/** INVALID_FIELD unless it may be a host or a domain name. */
export function checkHostname(name: string, field: string): void {
  if (!hostnamePattern.test(name) || name.length > longestHostname) {
    throw invalidField(field, `a name of letters, digits, \`-\` and \`.\`, at most ${longestHostname} long`, name);
  }
}
