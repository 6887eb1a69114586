import { FlotillaError, invalidField } from '@flotilla/errors';

/** Whom a process runs as. */
export interface ResolvedUser {
  readonly uid: number;
  readonly gid: number;
  readonly additionalGids: readonly number[];
  /** From /etc/passwd, else `/`. */
  readonly home: string;
}

export interface UserRequest {
  /** `user`, `uid`, `user:group`, `uid:gid`; empty means root. */
  readonly user: string;
  /** Names or numbers. */
  readonly groupAdd: readonly string[];
  /** Content of the container's /etc/passwd and /etc/group: untrusted; absent when there is no such file. */
  readonly passwd: Uint8Array | undefined;
  readonly group: Uint8Array | undefined;
}

interface PasswdEntry {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  readonly home: string;
}

interface GroupEntry {
  readonly name: string;
  readonly gid: number;
  readonly members: readonly string[];
}

/** 2^32 - 1 is (uid_t) -1: "no change" to the kernel. */
const highestId = 4_294_967_294;
const longestFileBytes = 1 << 20;
const mostGroups = 65_536; // NGROUPS_MAX, limits.h

/**
 * Finds a user as Docker does, with one rule of our own: what looks like a number is a number and never a name.
 * INVALID_ARGUMENT / USER_NOT_FOUND, GROUP_NOT_FOUND, INVALID_FIELD.
 */
export function resolveUser({ user, groupAdd, passwd, group }: UserRequest): ResolvedUser {
  const { userPart, groupPart } = splitUser(user);
  const users = parsePasswd(passwd);
  const groups = parseGroup(group);
  const id = userPart === '' ? 0 : parseId(userPart, 'user');
  const entry = users.find(({ name, uid }) => (id === undefined ? name === userPart : uid === id));
  if (id === undefined && entry === undefined) {
    throw new FlotillaError('invalid_argument', `unable to find user ${userPart}: no matching entry in /etc/passwd`, {
      reason: 'USER_NOT_FOUND',
      metadata: { user: userPart },
    });
  }
  const own = groups.filter(({ members }) => entry !== undefined && members.includes(entry.name)).map(({ gid }) => gid);
  const added = groupAdd.map((name) => findGroup(name, 'group_add', groups));
  const gid = groupPart === undefined ? (entry?.gid ?? 0) : findGroup(groupPart, 'user', groups);
  // With its first group among them, as Docker has it: a process that changes that one stays in it (CVE-2022-36109).
  const additional = new Set([gid, ...(groupPart === undefined ? own : []), ...added]);
  if (additional.size > mostGroups) throw invalidField('user', `in at most ${mostGroups} groups`);
  return { uid: id ?? entry?.uid ?? 0, gid, additionalGids: [...additional], home: entry?.home || '/' };
}

/** INVALID_FIELD unless the text has the form of a user; whether there is one, only the container's files say. */
export function checkUserForm(user: string, field: string): void {
  const { userPart, groupPart } = splitUser(user, field);
  if (userPart !== '') parseId(userPart, field);
  if (groupPart !== undefined) parseId(groupPart, field);
}

/** The parts before and behind the colon. */
function splitUser(user: string, field = 'user'): { userPart: string; groupPart: string | undefined } {
  const parts = user.split(':');
  const [userPart = '', groupPart] = parts;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  const bad = parts.length > 2 || groupPart === '' || user.length > 256 || /[\x00-\x1f\x7f]/.test(user);
  if (bad || (userPart === '' && user !== '')) {
    throw invalidField(field, '`user`, `uid`, `user:group` or `uid:gid`', user);
  }
  return { userPart, groupPart };
}

/** The number, or undefined for a name. Whatever begins like a number must be one. */
function parseId(text: string, field: string): number | undefined {
  if (!/^[-+]?\d+$/.test(text)) return undefined;
  const id = /^\d{1,10}$/.test(text) ? Number(text) : Number.POSITIVE_INFINITY;
  if (id > highestId) throw invalidField(field, `a number from 0 to ${highestId}`, text);
  return id;
}

/** INVALID_ARGUMENT / GROUP_NOT_FOUND. */
function findGroup(text: string, field: string, groups: readonly GroupEntry[]): number {
  const id = parseId(text, field);
  if (id !== undefined) return id;
  const entry = groups.find(({ name }) => name === text);
  if (entry !== undefined) return entry.gid;
  throw new FlotillaError('invalid_argument', `unable to find group ${text}: no matching entry in /etc/group`, {
    reason: 'GROUP_NOT_FOUND',
    metadata: { group: text, field },
  });
}

/** passwd(5); lines that are not of that form are passed over. */
function parsePasswd(file: Uint8Array | undefined): PasswdEntry[] {
  return linesOf(file).flatMap((line) => {
    const [name = '', , uid = '', gid = '', , home = ''] = line.split(':');
    const entry = { name, uid: entryId(uid), gid: entryId(gid), home: home.startsWith('/') ? home : '/' };
    return name === '' || entry.uid === undefined || entry.gid === undefined ? [] : [entry as PasswdEntry];
  });
}

/** group(5). */
function parseGroup(file: Uint8Array | undefined): GroupEntry[] {
  return linesOf(file).flatMap((line) => {
    const [name = '', , gid = '', members = ''] = line.split(':');
    const id = entryId(gid);
    return name === '' || id === undefined ? [] : [{ name, gid: id, members: members.split(',') }];
  });
}

function entryId(text: string): number | undefined {
  return /^\d{1,10}$/.test(text) && Number(text) <= highestId ? Number(text) : undefined;
}

function linesOf(file: Uint8Array | undefined): string[] {
  if (file === undefined) return [];
  const text = Buffer.from(file.buffer, file.byteOffset, Math.min(file.byteLength, longestFileBytes)).toString('utf8');
  return text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
}
