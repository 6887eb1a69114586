import type { Header } from 'tar-stream';
import { entryRefused } from './layer-error.ts';
import { checkedMap, readPaxSparseMap, type SparseMap } from './sparse.ts';
import type { EntryNotes } from './tar-annotator.ts';

/** An entry as the applier wants it: every number checked, the name taken apart. */
export interface LayerEntry {
  /** As in the archive, for errors. */
  readonly name: string;
  /** Components below the root; empty for the root itself. */
  readonly path: readonly string[];
  readonly type: string | null;
  readonly uid: number;
  readonly gid: number;
  /** Permission bits with set-id and sticky. */
  readonly mode: number;
  /** Nanoseconds since the Unix epoch. */
  readonly modifiedUnixNano: bigint;
  /** What the archive holds, bytes. */
  readonly sizeBytes: number;
  readonly linkname: string;
  readonly device: readonly [number, number];
  readonly xattrs: ReadonlyMap<string, Buffer>;
  /** Absent for a file without holes. */
  readonly sparse: SparseMap | undefined;
  /** PAX format 1.0: the map stands in front of the data. */
  readonly sparseInData: number | undefined;
}

const largestId = 4_294_967_294;
const longestPath = 4_096;

/** Checks a header of the parser. LAYER_ENTRY_REFUSED with what is wrong. */
export function readEntry(header: Header, notes: EntryNotes): LayerEntry {
  const pax = (header.pax ?? {}) as Readonly<Record<string, string>>;
  const name = pax['GNU.sparse.name'] ?? header.name;
  if (Buffer.byteLength(name) > longestPath) throw entryRefused(name, `has a name of more than ${longestPath} bytes`);
  if (header.linkname?.includes('\ufffd')) throw entryRefused(name, 'links to a name that is not UTF-8');
  const inData = pax['GNU.sparse.major'] === '1';
  return {
    name,
    path: components(name, name),
    type: header.type ?? null,
    uid: id(pax.uid ?? header.uid, 'owner', name),
    gid: id(pax.gid ?? header.gid, 'group', name),
    mode: (header.mode ?? 0) & 0o7777,
    modifiedUnixNano: readTime(pax.mtime, header.mtime),
    sizeBytes: header.size ?? 0,
    linkname: header.linkname ?? '',
    device: [number(header.devmajor), number(header.devminor)],
    xattrs: notes.xattrs,
    sparse: notes.sparse === undefined ? readPaxSparseMap(pax, name) : checkOld(notes.sparse, name),
    sparseInData: inData ? number(Number(pax['GNU.sparse.realsize'])) : undefined,
  };
}

/** The components of a path below the root; a `..` may not leave it. */
export function components(path: string, entry: string): string[] {
  if (path.includes('\0')) throw entryRefused(entry, 'has a NUL byte in its name');
  if (path.includes('\ufffd')) throw entryRefused(entry, 'has a name that is not UTF-8');
  const found: string[] = [];
  for (const part of path.split('/')) {
    if (part === '' || part === '.') continue;
    if (part !== '..') found.push(part);
    else if (found.pop() === undefined) throw entryRefused(entry, 'leaves the root by `..`');
  }
  return found;
}

function checkOld({ pieces, realSizeBytes }: SparseMap, entry: string): SparseMap {
  return checkedMap(
    pieces.flatMap(({ offset, sizeBytes }) => [offset, sizeBytes]),
    realSizeBytes,
    entry,
  );
}

function id(value: number | string | undefined, what: string, entry: string): number {
  const parsed = Number(value ?? 0);
  if (!Number.isInteger(parsed) || parsed < 0 || parsed > largestId) {
    throw entryRefused(entry, `has ${what} ${String(value)}, which is not 0 to ${largestId}`);
  }
  return parsed;
}

function number(value: number | undefined): number {
  return value !== undefined && Number.isSafeInteger(value) && value >= 0 ? value : 0;
}

/** PAX times have a fraction (pax(1)): `1700000000.123456789`, also negative. */
function readTime(pax: string | undefined, header: Date | undefined): bigint {
  const match = /^(-?)(\d{1,12})(?:\.(\d{1,9})\d*)?$/.exec(pax ?? '');
  if (match === null) return BigInt(header?.getTime() ?? 0) * 1_000_000n;
  const nanos = BigInt(match[2]!) * 1_000_000_000n + BigInt((match[3] ?? '').padEnd(9, '0'));
  return match[1] === '-' ? -nanos : nanos;
}
