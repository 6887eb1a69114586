import { invalidField } from '@flotilla/errors';
import { isDigest } from './digest.ts';

/** Name of an image, taken apart: `domain/path:tag@digest`. */
export interface Reference {
  /** `docker.io`, `localhost:5000`. */
  readonly domain: string;
  /** `library/debian`. */
  readonly path: string;
  readonly tag?: string;
  /** `sha256:…`. */
  readonly digest?: string;
}

const defaultDomain = 'docker.io';
const officialPrefix = 'library/';
const longestName = 255;
// The grammar of distribution's reference package, which all registries share.
const component = '[a-z0-9]+(?:(?:[.]|_|__|-+)[a-z0-9]+)*';
const pathPattern = new RegExp(`^${component}(?:/${component})*$`);
const domainPattern =
  /^(?:(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])(?:[.](?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]))*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?$/;
const tagPattern = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/;

/**
 * Reads a reference as Docker does: a first part with a dot, a colon or an upper-case letter, or `localhost`, is the
 * domain; without one it is docker.io, where a single name lives in `library/`; without tag and digest the tag is `latest`.
 * INVALID_FIELD otherwise.
 */
export function parseReference(text: string, field = 'reference'): Reference {
  const refuse = (expected: string) => invalidField(field, expected, text);
  if (/^[0-9a-f]{64}$/.test(text)) throw refuse('a name: 64 hexadecimal digits are an image id');
  const at = text.indexOf('@');
  const digest = at === -1 ? undefined : text.slice(at + 1);
  if (digest !== undefined && !isDigest(digest)) throw refuse('a reference whose digest is `sha256:` and 64 digits');
  const named = at === -1 ? text : text.slice(0, at);
  const colon = named.lastIndexOf(':');
  const tagged = colon > named.lastIndexOf('/');
  const tag = tagged ? named.slice(colon + 1) : digest === undefined ? 'latest' : undefined;
  if (tag !== undefined && !tagPattern.test(tag))
    throw refuse('a reference with a tag of letters, digits, `_`, `.`, `-`');
  const { domain, path } = splitDomain(tagged ? named.slice(0, colon) : named);
  if (!domainPattern.test(domain) || !pathPattern.test(path))
    throw refuse('a reference such as `debian:12` (in lower case)');
  if (domain.length + 1 + path.length > longestName) throw refuse(`a name of at most ${longestName} characters`);
  return { domain, path, ...(tag === undefined ? {} : { tag }), ...(digest === undefined ? {} : { digest }) };
}

function splitDomain(name: string): { domain: string; path: string } {
  const slash = name.indexOf('/');
  const first = name.slice(0, slash);
  const isDomain = slash !== -1 && (/[.:A-Z]/.test(first) || first === 'localhost');
  let domain = isDomain ? first : defaultDomain;
  const path = isDomain ? name.slice(slash + 1) : name;
  if (domain === 'index.docker.io') domain = defaultDomain;
  return { domain, path: domain === defaultDomain && !path.includes('/') ? officialPrefix + path : path };
}

/** The whole name: `docker.io/library/debian:12`. */
export function canonicalReference({ domain, path, tag, digest }: Reference): string {
  return `${domain}/${path}${tag === undefined ? '' : `:${tag}`}${digest === undefined ? '' : `@${digest}`}`;
}

/** What people write: `debian:12`. */
export function familiarReference(reference: Reference): string {
  const whole = canonicalReference(reference);
  if (reference.domain !== defaultDomain) return whole;
  const short = whole.slice(defaultDomain.length + 1);
  return short.startsWith(officialPrefix) && !short.slice(officialPrefix.length).includes('/')
    ? short.slice(officialPrefix.length)
    : short;
}
