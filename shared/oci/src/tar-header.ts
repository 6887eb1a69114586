/** A name or path as it is on disk: each character is one byte (latin1), since the kernel's names need not be UTF-8. */
export type BytePath = string;

// Why not tar-stream, which reads tars here: its writer keeps the values of PAX headers as text, and a file capability is
// none; nor does it write owners beyond 2,097,151, fractions of seconds or times after 2038.

export type TarType = 'file' | 'link' | 'symlink' | 'character-device' | 'block-device' | 'directory' | 'fifo';

/** What a tar says of a file. */
export interface TarEntry {
  /** Relative; without a slash behind a folder's. */
  readonly path: BytePath;
  readonly type: TarType;
  /** Permission bits with set-id and sticky. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Of the data that follows; 0 for all but files. */
  readonly sizeBytes: number;
  /** Nanoseconds since the Unix epoch. */
  readonly modifiedUnixNano: bigint;
  readonly target?: BytePath | undefined;
  /** Major and minor number. */
  readonly device?: readonly [number, number] | undefined;
  readonly xattrs?: ReadonlyMap<string, Buffer> | undefined;
}

export const blockBytes = 512;
const typeFlags: Readonly<Record<TarType, string>> = {
  file: '0',
  link: '1',
  symlink: '2',
  'character-device': '3',
  'block-device': '4',
  directory: '5',
  fifo: '6',
};
const billion = 1_000_000_000n;
const longestName = 100;
const largestId = 0o7777777;
const largestNumber = 0o77777777777;
const plain = /^[\x20-\x7e]*$/;

/** The header of an entry (POSIX pax(1), ustar and pax interchange format): a PAX header before it only where it needs one. */
export function tarHeader(entry: TarEntry): Buffer {
  const records = paxRecords(entry);
  const header = ustarHeader(entry, typeFlags[entry.type]);
  if (records.length === 0) return header;
  const data = Buffer.concat(records);
  const pax: TarEntry = {
    ...entry,
    path: 'PaxHeader',
    type: 'file',
    sizeBytes: data.length,
    target: '',
    device: [0, 0],
  };
  return Buffer.concat([ustarHeader(pax, 'x'), data, Buffer.alloc(paddingBytes(data.length)), header]);
}

/** Zero bytes that follow so much data. */
export function paddingBytes(sizeBytes: number): number {
  return (blockBytes - (sizeBytes % blockBytes)) % blockBytes;
}

/** What ends a tar. */
export const tarEnd = Buffer.alloc(2 * blockBytes);

function paxRecords({ path, type, uid, gid, sizeBytes, modifiedUnixNano, target = '', xattrs }: TarEntry): Buffer[] {
  const name = type === 'directory' ? `${path}/` : path;
  const records: Buffer[] = [];
  const add = (key: string, value: string | Buffer) => records.push(paxRecord(key, value));
  if (!fitsName(name)) add('path', Buffer.from(name, 'latin1'));
  if (!fitsName(target)) add('linkpath', Buffer.from(target, 'latin1'));
  if (uid > largestId) add('uid', String(uid));
  if (gid > largestId) add('gid', String(gid));
  if (sizeBytes > largestNumber) add('size', String(sizeBytes));
  if (modifiedUnixNano !== BigInt(wholeSeconds(modifiedUnixNano)) * billion) add('mtime', paxTime(modifiedUnixNano));
  for (const [attribute, value] of xattrs ?? []) add(`SCHILY.xattr.${escapeKey(attribute)}`, value);
  return records;
}

/** `length key=value` and a newline, where the length counts itself. */
function paxRecord(key: string, value: string | Buffer): Buffer {
  const rest = Buffer.concat([Buffer.from(` ${key}=`), Buffer.from(value as string), Buffer.from('\n')]);
  let length = rest.length + 1;
  while (length !== rest.length + String(length).length) length = rest.length + String(length).length;
  return Buffer.concat([Buffer.from(String(length)), rest]);
}

/** A key ends at its first `=`: written as GNU tar writes it. */
function escapeKey(attribute: string): string {
  return attribute.includes('=') ? attribute.replaceAll('%', '%25').replaceAll('=', '%3D') : attribute;
}

function paxTime(unixNano: bigint): string {
  const [sign, nanos] = unixNano < 0n ? ['-', -unixNano] : ['', unixNano];
  const fraction = String(nanos % billion)
    .padStart(9, '0')
    .replace(/0+$/, '');
  return `${sign}${nanos / billion}${fraction === '' ? '' : `.${fraction}`}`;
}

/** What the old field can hold. */
function wholeSeconds(unixNano: bigint): number {
  const seconds = Number(unixNano / billion);
  return Math.min(Math.max(seconds, 0), largestNumber);
}

function fitsName(name: BytePath): boolean {
  return name.length <= longestName && plain.test(name);
}

function ustarHeader(entry: TarEntry, typeFlag: string): Buffer {
  const { path, type, mode, uid, gid, sizeBytes, modifiedUnixNano, target = '', device = [0, 0] } = entry;
  const block = Buffer.alloc(blockBytes);
  const octal = (value: number, at: number, digits: number) =>
    block.write(value.toString(8).padStart(digits, '0'), at, 'latin1');
  block.write(shortName(path, type), 0, longestName, 'latin1');
  octal(mode & 0o7777, 100, 7);
  octal(uid > largestId ? 0 : uid, 108, 7);
  octal(gid > largestId ? 0 : gid, 116, 7);
  octal(sizeBytes > largestNumber ? 0 : sizeBytes, 124, 11);
  octal(wholeSeconds(modifiedUnixNano), 136, 11);
  block.write('        ', 148, 'latin1');
  block.write(typeFlag, 156, 'latin1');
  block.write(fitsName(target) ? target : asPlain(target).slice(0, longestName), 157, longestName, 'latin1');
  block.write('ustar\x0000', 257, 'latin1');
  octal(device[0], 329, 7);
  octal(device[1], 337, 7);
  let sum = 0;
  for (const byte of block) sum += byte;
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return block;
}

/** What readers see that know no PAX. A file's may not end in a slash, which makes a folder of it. */
function shortName(path: BytePath, type: TarType): string {
  const name = type === 'directory' ? `${path}/` : path;
  if (fitsName(name)) return name;
  const cut = asPlain(name).slice(0, longestName);
  return type === 'directory' ? cut : cut.replace(/\/+$/, '');
}

function asPlain(text: string): string {
  return text.replaceAll(/[^\x20-\x7e]/g, '_');
}
