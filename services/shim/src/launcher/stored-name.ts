import { isContainerId } from './shim-task.ts';

/**
 * Short, because all names together come back in one variable (LISTEN_FDNAMES), which execve(2) limits to 128 KiB: 7,000
 * descriptors. No long name begins with one of these letters.
 */
const letters = { terminal: 'm', staging: 'g', stdin: 'n', stdout: 'o', stderr: 'e', init: 'p' } as const;
const whats: ReadonlyMap<string, string> = new Map(Object.entries(letters).map(([what, letter]) => [letter, what]));
/** Of an id of 64: no two containers of a host share so many. */
const keyDigits = 16;

/** What a name says of a descriptor that is left with the service manager. */
export interface StoredName {
  readonly what: string;
  /** {@link keyOf} of the container's id. */
  readonly key: string;
}

/** What stands for a container in names. */
export function keyOf(containerId: string): string {
  return /^[0-9a-f]{64}$/.test(containerId) ? containerId.slice(0, keyDigits) : containerId;
}

/** The name of a container's descriptor: a letter and 16 digits of the id; or, where the id has another form, all of it. */
export function storedName(what: string, containerId: string): string {
  const key = keyOf(containerId);
  const letter = what in letters ? letters[what as keyof typeof letters] : undefined;
  return letter === undefined || key === containerId ? longName(what, containerId) : `${letter}${key}`;
}

/** All names that it can have: an earlier launcher gave another. */
export function storedNames(what: string, containerId: string): readonly string[] {
  return [...new Set([storedName(what, containerId), longName(what, containerId)])];
}

/** `undefined` when it is no name of a container's descriptor. */
export function parseStoredName(name: string): StoredName | undefined {
  const [, letter = '', key = ''] = /^([a-z])([0-9a-f]{16})$/.exec(name) ?? [];
  const short = whats.get(letter);
  if (short !== undefined) return { what: short, key };
  const [, what = '', containerId = ''] = /^([a-z]+)-(.+)$/.exec(name) ?? [];
  return what in letters && isContainerId(containerId) ? { what, key: keyOf(containerId) } : undefined;
}

/** As all names were before they were short. */
function longName(what: string, containerId: string): string {
  return `${what}-${containerId}`;
}
